//! Choosing providers by URL and by name: what is unknown, doubled or malformed is refused, and no
//! secret is ever shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use lock_core::backend::{Claim, ProviderFactory, ProviderInfo, ProviderUrl, Ttl};
use lock_core::registry::{LocksConfig, ProviderConfig, ProviderRegistry};
use lock_core::{Capability, ClientBuilder, Lock, LockClient, LockKey, LockProvider};
use lock_memory::MemoryProvider;

fn registry() -> ProviderRegistry {
    ProviderRegistry::new().register(lock_memory::factory()).unwrap()
}

#[tokio::test]
async fn bl36_an_unknown_scheme_is_refused_with_a_list_of_the_known_ones() {
    for (url, says) in [
        ("", "not a provider URL"),
        ("memory", "not a provider URL"),
        ("memroy://", "no provider for the scheme `memroy`; known are: memory"),
        ("://", "the provider URL is malformed"),
        ("memory://?x=1", "unknown option `x`; known are: none"),
        ("memory://name:80", "at most one name and no port"),
        ("memory:///path", "a memory store has no path"),
        ("memory://user:hunter2@name", "neither user nor password"),
    ] {
        let error = registry().connect(url).await.unwrap_err();
        assert!(error.is_misconfigured(), "{url}: {error:?}");
        assert!(error.to_string().contains(says), "{url}: {error}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
    // Schemes are case-insensitive, as in every URL.
    registry().connect("MEMORY://").await.unwrap();
}

#[test]
fn bl37_a_scheme_registered_twice_is_refused() {
    let error = registry().register(lock_memory::factory()).unwrap_err();
    assert!(error.is_misconfigured());
    assert!(error.to_string().contains("the scheme `memory` is registered twice"), "{error}");
    assert_eq!(registry().replacing(lock_memory::factory()).schemes().count(), 1);
}

#[tokio::test]
async fn a_named_memory_store_is_shared_and_an_unnamed_one_is_not() {
    let registry = registry();
    let (one, two) = (registry.connect("memory://a").await, registry.connect("memory://a").await);
    let guard = one.unwrap().lock("k").acquire().await.unwrap();
    assert!(two.unwrap().lock("k").try_acquire().await.is_err_and(|e| e.is_contended()));
    for other in ["memory://", "memory://b"] {
        let other = registry.connect(other).await.unwrap();
        other.lock("k").try_acquire().await.expect("free").forget();
    }
    guard.release().await.unwrap();
}

#[tokio::test]
async fn every_scheme_has_prefixes() {
    let registry = registry();
    let whole = registry.connect("memory://shared").await.unwrap();
    let billing = registry.connect("memory://shared?prefix=billing%3A").await.unwrap();
    assert_eq!(billing.capabilities(), whole.capabilities());
    let guard = billing.lock("42").acquire().await.unwrap();
    assert!(whole.lock("42").try_acquire().await.is_ok());
    assert!(whole.lock("billing:42").try_acquire().await.is_err_and(|e| e.is_contended()));
    let owner = whole.inspect("billing:42").await.unwrap().holder().unwrap().owner();
    assert_eq!(owner, guard.owner());
    assert_eq!(billing.inspect("42").await.unwrap().holder().unwrap().owner(), owner);
    let error = billing.lock("42").no_wait().acquire().await.unwrap_err();
    assert_eq!(error.key(), Some("42"));
    guard.release().await.unwrap();

    // Together they have the limit of a key.
    let longest = "k".repeat(LockKey::MAX_LEN - "billing:".len());
    drop(billing.lock(&longest).acquire().await.unwrap());
    let longer = format!("{longest}k");
    for error in [
        billing.lock(&longer).acquire().await.unwrap_err(),
        billing.inspect(&longer).await.unwrap_err(),
    ] {
        assert!(error.is_invalid(), "{error}");
        assert!(
            error
                .to_string()
                .contains("has 1017 bytes; the limit of the provider `memory` is 1016"),
            "{error}"
        );
    }
    registry.connect("memory://?prefix=").await.unwrap();
    for (url, says) in [
        ("memory://?prefix=a&prefix=b", "the option `prefix` is given twice"),
        ("memory://?prefix=a&colour=blue", "unknown option `colour`"),
        ("memory://?prefix=a%0Ab", "the key prefix has the control character"),
        (&*format!("memory://?prefix={}", "a".repeat(257)), "has 257 bytes; the limit is 256"),
    ] {
        let error = registry.connect(url).await.unwrap_err();
        assert!(error.is_misconfigured() && error.to_string().contains(says), "{error}");
    }
}

#[cfg(feature = "serde")]
#[tokio::test]
async fn named_providers_come_from_toml_and_json() {
    let toml = r#"
        default = "jobs"
        [providers.jobs]
        url = "memory://"
        ttl = "2m"
        [providers.scratch]
        url = "memory://"
        wait = "250ms"
    "#;
    let json = r#"{"default": "jobs", "providers": {
        "jobs": {"url": "memory://", "ttl": "2m"},
        "scratch": {"url": "memory://", "wait": "250ms"}
    }}"#;
    for config in
        [toml::from_str::<LocksConfig>(toml).unwrap(), serde_json::from_str(json).unwrap()]
    {
        let clients = registry().connect_all(&config).await.unwrap();
        assert_eq!(clients.names().collect::<Vec<_>>(), ["jobs", "scratch"]);
        let guard = clients.default_client().unwrap().lock("k").acquire().await.unwrap();
        let left = guard.held_until().unwrap().since(clients.get("jobs").unwrap().clock().now());
        assert!(left > Duration::from_secs(110), "the ttl of the configuration: {left:?}");
        let error = clients.get("Jobs").unwrap_err();
        assert!(
            error.to_string().contains("no provider is named `Jobs`; known are: jobs, scratch")
        );
    }
    for (bad, says) in [
        ("[providers.a]\nurl = 'memory://'\nttl = 'soon'", "ttl"),
        ("[providers.a]\nurl = 'memory://'\ntll = '1s'", "unknown field `tll`"),
        ("[providers.a]\n", "missing field `url`"),
        ("defualt = 'a'\n[providers]", "unknown field `defualt`"),
    ] {
        let error = toml::from_str::<LocksConfig>(bad).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn named_providers_come_from_the_environment() {
    let vars = [
        ("LOCK_JOBS_URL", "memory://"),
        ("LOCK_SCRATCH_URL", "memory://"),
        ("LOCK_DEFAULT", "JOBS"),
        ("LOCK__URL", "memory://"),
        ("LOCKSMITH", "x"),
    ];
    let config = LocksConfig::from_vars(vars).unwrap();
    let clients = registry().connect_all(&config).await.unwrap();
    assert_eq!(clients.names().collect::<Vec<_>>(), ["jobs", "scratch"]);
    clients.default_client().unwrap();

    let twice = LocksConfig::from_vars([("LOCK_A_URL", "memory://"), ("LOCK_a_URL", "memory://")]);
    let message = twice.unwrap_err().to_string();
    assert!(message.contains("LOCK_A_URL is given twice, in different case"), "{message}");
    let nowhere = LocksConfig::from_vars([("LOCK_A_URL", "memory://"), ("LOCK_DEFAULT", "b")]);
    let message = nowhere.unwrap_err().to_string();
    assert!(message.contains("no provider is named `b`; known are: a"), "{message}");
}

fn file() -> LocksConfig {
    LocksConfig::new()
        .with("jobs", ProviderConfig::new("memory://jobs").with_ttl(Duration::from_secs(10)))
        .with("jobs_slow", ProviderConfig::new("memory://slow"))
        .with_default("jobs")
}

#[tokio::test]
async fn the_environment_overrides_the_file() {
    let vars = [
        ("LOCK_DEFAULT", "jobs_slow"),
        ("LOCK_JOBS_URL", "memory://other"),
        ("LOCK_JOBS_WAIT", "250ms"),
        ("LOCK_JOBS_SLOW_TTL", "2m"),
        ("LOCK_MORE_URL", "memory://"),
        // These belong to no provider.
        ("LOCK_ELSEWHERE_TTL", "soon"),
        ("LOCK_FREE", "yes"),
        ("LOCK_free", "no"),
        ("LOCK_", ""),
        ("JOBS_URL", ""),
    ];
    let config = file().with_vars(vars).unwrap();
    assert_eq!(config.default_name(), Some("jobs_slow"));
    let entries: Vec<_> =
        config.iter().map(|(name, entry)| (name, entry.url(), entry.ttl(), entry.wait())).collect();
    let (seconds, ms) = (Duration::from_secs, Duration::from_millis);
    assert_eq!(
        entries,
        [
            ("jobs", "memory://other", Some(seconds(10)), Some(ms(250))),
            ("jobs_slow", "memory://slow", Some(seconds(120)), None),
            ("more", "memory://", None, None),
        ]
    );
    let clients = registry().connect_all(&config).await.unwrap();
    assert!(clients.iter().all(|(name, client)| client.name() == Some(name)));
}

#[test]
fn what_the_environment_gets_wrong_is_named() {
    for (variable, value, says) in [
        (
            "LOCK_JOBS_TLL",
            "2m",
            "unknown environment variable LOCK_JOBS_TLL; known are: \
            LOCK_JOBS_URL, LOCK_JOBS_TTL, LOCK_JOBS_WAIT",
        ),
        ("LOCK_JOBS_SLOW_TLL", "2m", "known are: LOCK_JOBS_SLOW_URL, LOCK_JOBS_SLOW_TTL"),
        ("LOCK_JOBS_TTL", "soon", "LOCK_JOBS_TTL is not a time such as `30s`"),
        ("LOCK_JOBS_URL", " ", "the URL of `jobs` is empty"),
        ("LOCK_NEW_URL", "", "the URL of `new` is empty"),
        ("LOCK_NEW-ONE_URL", "memory://", "`new-one` cannot name a provider; use lower-case"),
        ("LOCK_DEFAULT", "nobody", "no provider is named `nobody`; known are: jobs, jobs_slow"),
    ] {
        let error = file().with_vars([(variable, value)]).unwrap_err();
        assert!(error.is_misconfigured(), "{variable}: {error:?}");
        assert!(error.to_string().contains(says), "{variable}: {error}");
    }
}

#[tokio::test]
async fn each_client_of_a_configuration_can_be_set_up() {
    let (mut names, ttl) = (Vec::new(), Duration::from_secs(77));
    let set_up = |name: &str, builder: ClientBuilder| {
        names.push(name.to_owned());
        if name == "jobs" { builder } else { builder.ttl(ttl) }
    };
    let clients = registry().connect_all_with(&file(), set_up).await.unwrap();
    assert_eq!(names, ["jobs", "jobs_slow"]);
    for (name, expected) in [("jobs", Duration::from_secs(10)), ("jobs_slow", ttl)] {
        let guard = clients.get(name).unwrap().lock("k").acquire().await.unwrap();
        assert_eq!(guard.ttl(), expected, "{name}");
    }
    let impossible = |_: &str, builder: ClientBuilder| builder.ttl(Duration::ZERO);
    let error = registry().connect_all_with(&file(), impossible).await.unwrap_err();
    assert!(error.to_string().contains("the provider named `jobs` cannot be used"), "{error}");
}

#[tokio::test]
async fn a_bad_entry_is_found_at_start_up_and_named() {
    let config = LocksConfig::new()
        .with("good", ProviderConfig::new("memory://"))
        .with("bad", ProviderConfig::new("redis://user:hunter2@host"));
    let error = registry().connect_all(&config).await.unwrap_err();
    assert!(error.is_misconfigured());
    let message = format!("{error:#}");
    assert!(message.starts_with("the provider named `bad` cannot be used: "), "{message}");
    assert!(message.contains("no provider for the scheme `redis`; known are: memory"), "{message}");
    let shown = format!("{error:?} {config:?}");
    assert!(!shown.contains("hunter2"), "{shown}");

    let zero = ProviderConfig::new("memory://").with_ttl(Duration::ZERO);
    let error = registry().connect_all(&LocksConfig::new().with("a", zero)).await.unwrap_err();
    let useless = LockClient::builder(MemoryProvider::new()).stop_margin(Duration::from_secs(60));
    let refused = useless.build().unwrap_err().to_string();
    assert!(refused.contains("the stop margin 60s leaves nothing of the ttl 30s"), "{refused}");
    let secret = LocksConfig::from_vars([("LOCK_DEFAULT", "redis://:hunter2@host")]).unwrap_err();
    assert_eq!(secret.to_string(), "no provider is named `…`; known are: none");
    assert!(error.is_invalid() && error.to_string().contains("named `a`"), "{error}");

    let two = LocksConfig::new()
        .with("a", ProviderConfig::new("memory://"))
        .with("b", ProviderConfig::new("memory://"));
    let clients = registry().connect_all(&two).await.unwrap();
    let message = clients.default_client().unwrap_err().to_string();
    assert!(message.contains("no default provider is configured; choose one of: a, b"));
}

/// A third party's factory, as an application would add it.
#[derive(Debug)]
struct Elsewhere;

#[async_trait::async_trait]
impl ProviderFactory for Elsewhere {
    fn schemes(&self) -> &[&str] {
        &["elsewhere"]
    }

    async fn connect(
        &self,
        url: &ProviderUrl,
    ) -> lock_core::Result<Arc<dyn lock_core::LockProvider>> {
        url.options(&["colour"])?;
        Ok(Arc::new(lock_memory::MemoryProvider::builder().name("elsewhere").build()))
    }
}

#[tokio::test]
async fn third_party_schemes_stand_beside_the_others() {
    let registry = registry().register(Elsewhere).unwrap();
    assert_eq!(registry.schemes().collect::<Vec<_>>(), ["elsewhere", "memory"]);
    let locks = registry.connect("elsewhere://h1:1,h2:2/x?colour=red").await.unwrap();
    assert_eq!(locks.info().name(), "elsewhere");
    locks.require([Capability::Fencing]).unwrap();
}

/// A store that keeps no ttl longer than two seconds, and its factory.
#[derive(Debug)]
struct Brief(MemoryProvider, ProviderInfo);

impl Brief {
    fn new() -> Self {
        let store = MemoryProvider::new();
        let longest = Ttl::new(Duration::from_secs(2)).unwrap();
        let info = store.info().clone().with_ttls(Ttl::MIN..=longest);
        Self(store, info)
    }
}

impl LockProvider for Brief {
    fn info(&self) -> &ProviderInfo {
        &self.1
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        self.0.lock(claim)
    }
}

#[async_trait::async_trait]
impl ProviderFactory for Brief {
    fn schemes(&self) -> &[&str] {
        &["brief"]
    }

    async fn connect(&self, _: &ProviderUrl) -> lock_core::Result<Arc<dyn LockProvider>> {
        Ok(Arc::new(Self::new()))
    }
}

#[tokio::test]
async fn t1_a_default_ttl_that_the_store_does_not_keep_is_refused_at_connect_with_the_remedies() {
    let registry = registry().register(Brief::new()).unwrap();
    let named = |entry| LocksConfig::new().with("jobs", entry);
    let entry = || ProviderConfig::new("brief://user:hunter2@host");
    let one = registry.connect("brief://user:hunter2@host").await.unwrap_err();
    let all = registry.connect_all(&named(entry())).await.unwrap_err();
    let built = LockClient::builder(Brief::new()).build().unwrap_err();
    for error in [&one, &all, &built] {
        assert!(error.is_invalid(), "{error:?}");
        let message = format!("{error:#}");
        for part in ["default ttl 30s", "keeps 1ms to 2s", "ClientBuilder::ttl", "ProviderConfig"] {
            assert!(message.contains(part), "{part}: {message}");
        }
        assert!(!format!("{error:#} {error:?}").contains("hunter2"));
    }
    assert!(one.to_string().starts_with("connect to brief://host: the default ttl"), "{one}");

    // The remedies work.
    let brief = Duration::from_secs(1);
    let clients = registry.connect_all(&named(entry().with_ttl(brief))).await.unwrap();
    drop(clients.get("jobs").unwrap().lock("k").acquire().await.unwrap());
    let provider = registry.provider("brief://host").await.unwrap();
    let locks = LockClient::builder(provider).ttl(brief).build().unwrap();
    drop(locks.lock("k").acquire().await.unwrap());
    // So does a ttl for each lock, with a client that cannot be refused.
    let locks = LockClient::new(Brief::new());
    drop(locks.lock("k").ttl(brief).acquire().await.unwrap());
    assert!(locks.lock("other").acquire().await.unwrap_err().is_invalid());
}
