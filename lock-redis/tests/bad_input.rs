//! Wrong input is refused in bounded time, with a message that says what is wrong.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::error::Error as _;
use std::future::Future;
use std::time::{Duration, Instant};

use lock_core::registry::ProviderRegistry;
use lock_core::{Error, OwnerToken};
use lock_redis::{RedisConfig, RedisProvider};
use support::{PASSWORD, Server, ca};

/// The limit for any wrong input.
const BOUND: Duration = Duration::from_secs(20);

async fn refused<T: std::fmt::Debug>(request: impl Future<Output = Result<T, Error>>) -> Error {
    let started = Instant::now();
    let error = request.await.unwrap_err();
    assert!(started.elapsed() < BOUND, "{error} took {:?}", started.elapsed());
    let shown = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
    assert!(!shown.contains(PASSWORD) && !shown.contains("hunter2"), "a secret in {shown}");
    error
}

async fn connect(url: &str) -> Error {
    let registry = ProviderRegistry::new().register(lock_redis::factory()).unwrap();
    refused(registry.connect(url)).await
}

#[tokio::test]
async fn a_wrong_url_is_refused_with_what_would_be_right() {
    for (url, says) in [
        ("redis:localhost", "it looks like `scheme://host/path?option=value`"),
        ("redis://", "write `redis://host:port/database`"),
        ("redis://h:port", "the provider URL is malformed"),
        ("redis://h/one", "`one` is not a database; give its number"),
        ("redsi://h", "no provider for the scheme `redsi`; known are: redis, redis+cluster"),
        ("redis://h?prefx=a", "unknown option `prefx`; known are: prefix, server_checks"),
        ("redis://h?prefix=a&prefix=b", "the option `prefix` is given twice"),
        ("redis://h?server_checks=maybe", "the option `server_checks` is `on` or `off`"),
        ("redis://user:hunter2@h/#fragment", "write `#` in a password or prefix as `%23`"),
    ] {
        let error = connect(url).await;
        assert!(error.is_misconfigured(), "{url}: {error:?}");
        assert!(error.to_string().contains(says), "{url}: {error}");
    }
}

#[tokio::test]
async fn a_dead_server_is_unavailable_and_named() {
    let (port, path) = {
        let server = Server::start();
        (server.port, server.socket())
    };
    let error = connect(&format!("redis://me:hunter2@127.0.0.1:{port}")).await;
    assert!(error.is_unavailable(), "{error:?}");
    let named = format!("connect to redis://127.0.0.1:{port}: the server refused the connection");
    assert_eq!(error.to_string(), named);
    assert!(error.source().is_some());
    let error = connect(&format!("redis+unix://{}", path.display())).await;
    assert!(error.is_unavailable(), "{error:?}");
    assert!(error.to_string().ends_with("the server's socket does not exist"), "{error}");
}

#[tokio::test]
async fn a_database_that_the_server_does_not_have_is_misconfigured() {
    let server = Server::start();
    let error = connect(&format!("{}/99", server.url())).await;
    assert!(error.is_misconfigured(), "{error:?}");
    assert!(error.to_string().contains("the server has no database of this number"), "{error}");
}

#[tokio::test]
async fn a_host_that_never_answers_is_unavailable_in_bounded_time() {
    let server = Server::start();
    server.freeze();
    let url = format!("{}?connect_timeout=300ms", server.url());
    let error = connect(&url).await;
    server.thaw();
    assert!(error.is_unavailable(), "{error:?}");
}

#[tokio::test]
async fn a_wrong_password_is_denied_without_being_shown() {
    let server = Server::acl();
    let right = RedisConfig::tcp("127.0.0.1", server.port).user("locks").password(PASSWORD);
    RedisProvider::connect(right.prefix("app:")).await.unwrap();
    for url in [
        format!("redis://locks:hunter2@127.0.0.1:{}", server.port),
        format!("redis://nobody:{PASSWORD}@127.0.0.1:{}", server.port),
    ] {
        let error = connect(&url).await;
        assert!(error.is_denied(), "{error:?}");
        assert!(error.to_string().contains("refused the user name or password"), "{error}");
    }
}

#[tokio::test]
async fn a_missing_permission_is_denied_at_once() {
    let server = Server::acl();
    // The user's key pattern does not cover this prefix.
    let config = server.config().user("locks").password(PASSWORD).prefix("elsewhere:");
    let locks = lock_core::LockClient::new(RedisProvider::connect(config).await.unwrap());
    let error = refused(locks.lock("k").wait_forever().acquire()).await;
    assert!(error.is_denied(), "{error:?}");
    assert!(error.to_string().starts_with("acquire `k` on redis: the server's ACL denies"));
}

#[tokio::test]
async fn r31_tls_is_verified_and_never_falls_back() {
    let server = Server::tls();
    let port = server.port;
    let good = RedisConfig::tls("localhost", port).ca(ca());
    RedisProvider::connect(good).await.unwrap();
    // The system does not know the authority, or the certificate has another name.
    for config in
        [RedisConfig::tls("localhost", port), RedisConfig::tls("127.0.0.1", port).ca(ca())]
    {
        let error = refused(RedisProvider::connect(config)).await;
        assert!(error.is_misconfigured() || error.is_unavailable(), "{error:?}");
        assert!(error.source().is_some());
    }
    // TLS to a plain port, and plain text to a TLS port.
    let plain = Server::start();
    refused(RedisProvider::connect(RedisConfig::tls("localhost", plain.port).ca(ca()))).await;
    refused(RedisProvider::connect(RedisConfig::tcp("127.0.0.1", port))).await;
    let missing = RedisConfig::tls("localhost", port).ca("/does/not/exist.pem");
    let error = refused(RedisProvider::connect(missing)).await;
    assert!(error.to_string().contains("`/does/not/exist.pem` cannot be read"), "{error}");
}

#[tokio::test]
async fn r27_a_server_that_evicts_or_cannot_write_is_refused_with_the_remedy() {
    let server = Server::with(&["--maxmemory-policy", "volatile-ttl"]);
    let error = connect(&server.url()).await;
    assert!(error.is_misconfigured(), "{error:?}");
    assert!(error.to_string().contains("set it to `noeviction`"), "{error}");
    RedisProvider::connect(server.config().server_checks(false)).await.unwrap();

    let master = Server::start();
    let replica = Server::with(&["--replicaof", &format!("127.0.0.1 {}", master.port)]);
    let error = connect(&replica.url()).await;
    assert!(error.to_string().contains("connect to its master"), "{error}");
    // Without the checks, it still takes no lock on a replica.
    let config = replica.config().server_checks(false);
    let locks = lock_core::LockClient::new(RedisProvider::connect(config).await.unwrap());
    let error = refused(locks.lock("k").try_acquire()).await;
    assert!(error.is_unavailable(), "{error:?}");
}

#[tokio::test]
async fn bad_keys_and_ttls_are_refused_before_the_server_sees_them() {
    let server = Server::start();
    let locks = server.client().await;
    server.command("CONFIG RESETSTAT");
    let huge = "k".repeat(1 << 20);
    for (key, ttl, says) in [
        ("", Duration::from_secs(1), "acquire on redis: the lock key is empty"),
        (&*huge, Duration::from_secs(1), "the lock key has 1048576 bytes; the limit is 1024"),
        ("a\nb", Duration::from_secs(1), "the control character '\\n' at byte 1"),
        ("k", Duration::ZERO, "acquire `k` on redis: the ttl is zero; it must be longer"),
        ("k", Duration::MAX, "the longest is 365 days"),
        ("k", Duration::from_millis(1), "shorter than the safety margins; give at least 3ms"),
    ] {
        let error = refused(locks.lock(key).ttl(ttl).acquire()).await;
        assert!(error.is_invalid(), "{error:?}");
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(server.calls("evalsha"), 0);
}

#[tokio::test]
async fn x1_r34_other_data_at_the_key_is_reported_and_never_touched() {
    let server = Server::start();
    let locks = server.client().await;
    server.command("LPUSH list a");
    server.command("HSET hash field value");
    for key in ["list", "hash"] {
        let error = refused(locks.lock(key).wait_forever().acquire()).await;
        assert!(error.is_foreign(), "{error:?}");
        assert!(error.to_string().contains("another type that never expires, so it is no lock"));
        assert!(locks.inspect(key).await.unwrap_err().is_foreign());
    }
    assert_eq!(server.command("LRANGE list 0 -1"), "*1\r\n$1\r\na\r\n");
    assert_eq!(server.command("HGET hash field"), "$5\r\nvalue\r\n");
    // Data with an expiry becomes free, so it is waited for like a lock.
    server.command("PEXPIRE list 300");
    locks.lock("list").acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn x1_a_string_without_expiry_is_a_lock_of_another_library_and_held() {
    let server = Server::start();
    let locks = server.client().await;
    let half = Duration::from_millis(500);
    server.command("SET k somebody"); // as redis-py does by default
    let found = "another library has taken the lock, without an expiry";
    let contended = locks.lock("k").no_wait().acquire().await.unwrap_err();
    assert!(contended.is_contended() && contended.to_string().contains(found), "{contended}");
    let timed_out = locks.lock("k").wait_at_most(half).acquire().await.unwrap_err();
    assert!(timed_out.is_timed_out() && timed_out.to_string().contains(found), "{timed_out}");
    assert_eq!((contended.remaining(), timed_out.remaining()), (None, None));
    assert!(locks.lock("k").try_acquire().await.is_err_and(|e| e.is_contended()));
    assert_eq!(server.command("GET k"), "$8\r\nsomebody\r\n", "it is not touched");
    let waiting = tokio::spawn(locks.lock("k").wait_forever().acquire());
    let refused = || server.calls("evalsha");
    let before = refused();
    while refused() < before + 3 {
        assert!(!waiting.is_finished(), "it waits as long as the lock is held");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    server.command("DEL k");
    let guard = tokio::time::timeout(Duration::from_secs(20), waiting).await;
    guard.expect("in time").unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn i1_a_holder_of_another_library_is_shown_as_foreign_and_without_a_token_of_ours() {
    let server = Server::start();
    let locks = server.client().await;
    let guard = locks.lock("k").metadata("note").acquire().await.unwrap();
    let ours = locks.inspect("k").await.unwrap().holder().cloned().expect("a holder");
    assert!(!ours.is_foreign() && ours.fencing() == guard.fencing_token());
    assert_eq!(ours.metadata().as_bytes(), b"note");
    guard.release().await.unwrap(); // its counter stays
    // Values of bsm/redislock and redsync begin like an owner token; those of redis-py do not.
    let owner = OwnerToken::mint().unwrap();
    for value in [owner.expose().to_owned(), format!("{}==", owner.expose()), "5e1f".repeat(8)] {
        server.send(&["SET", "k", &value, "PX", "60000"]);
        let holder = locks.inspect("k").await.unwrap().holder().cloned().expect("a holder");
        assert!(holder.is_foreign() && holder.fencing().is_none(), "{holder:?}");
        assert!(holder.metadata().is_empty() && holder.remaining().is_some(), "{holder:?}");
    }
    server.command("PERSIST k");
    let endless = locks.inspect("k").await.unwrap().holder().cloned().expect("a holder");
    assert!(endless.is_foreign() && endless.remaining().is_none());
    // Redisson's lock is a hash.
    server.command("DEL k");
    server.command("HSET k client 1");
    server.command("PEXPIRE k 20000");
    let holder = locks.inspect("k").await.unwrap().holder().cloned().expect("a holder");
    let left = holder.remaining().expect("it has an expiry");
    assert!(holder.is_foreign() && left > Duration::from_secs(10), "{holder:?}");
    let contended = locks.lock("k").no_wait().acquire().await.unwrap_err();
    assert!(contended.remaining().expect("the same") <= left);
}

#[tokio::test]
async fn f1_bf5_r35_a_damaged_fencing_counter_yields_no_lock_and_no_token() {
    let server = Server::start();
    let locks = server.client().await;
    let fence = "k\u{1f}fence{k}";
    for value in ["text", "-5", "0", "1.5", "1e9", "9007199254740992", "", "007"] {
        server.send(&["SET", fence, value]);
        let error = refused(locks.lock("k").acquire()).await;
        assert!(error.to_string().contains("fencing counter is unusable"), "{value}: {error}");
        assert_eq!(server.command("EXISTS k"), ":0\r\n", "no lock without a token");
    }
    server.send(&["SET", fence, "9007199254740991"]);
    let error = refused(locks.lock("k").acquire()).await;
    assert!(error.to_string().contains("its numbers are used up"), "{error}");
    server.send(&["DEL", fence]);
    server.send(&["LPUSH", fence, "a"]);
    let error = refused(locks.lock("k").acquire()).await;
    assert!(error.to_string().contains("it is not a string"), "{error}");
    assert_eq!(server.send(&["LLEN", fence]), ":1\r\n", "foreign data is not touched");
    server.send(&["DEL", fence]);
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
}
