//! The provider for every set-up but the quorum.

#[cfg(not(feature = "cluster"))]
use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use lock_core::backend::{Claim, Inspect, ProviderInfo, Ttl};
use lock_core::{Lock, LockKey, LockProvider, Occupancy, Result};
use redis::Value;
#[cfg(feature = "cluster")]
use redis::cluster::ClusterClient;

use crate::config::{RedisConfig, RedisOptions};
use crate::keys::Prefix;
use crate::net::call::Call;
use crate::net::checks::ServerChecks;
use crate::net::endpoint::Endpoint;
use crate::net::links::{Links, Purpose};
use crate::verbs::lock::{RedisLock, Store};
use crate::verbs::scripts::Scripts;
use crate::wait::subscriber::Subscriber;

/// Keeps locks on a Redis (7 or later) or Valkey server.
///
/// The [crate's page](crate) lists what it guarantees and what it stores. Each verb is one atomic
/// script.
///
/// It keeps two connections: one for acquisitions, and one for renewals and releases. So a flood of
/// acquisitions cannot delay a renewal until its lease ends.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> lock_core::Result<()> {
/// use lock_core::LockClient;
/// use lock_redis::{RedisConfig, RedisProvider};
///
/// let provider = RedisProvider::connect(RedisConfig::tcp("localhost", 6379).prefix("app:")).await?;
/// let locks = LockClient::new(provider);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RedisProvider {
    info: ProviderInfo,
    pub(crate) store: Arc<Store>,
}

impl RedisProvider {
    /// Connects to a server and checks that locks are safe on it.
    ///
    /// # Errors
    ///
    /// | kind | reason |
    /// |---|---|
    /// | [`Unavailable`](lock_core::ErrorKind::Unavailable) | the server cannot be reached |
    /// | [`Denied`](lock_core::ErrorKind::Denied) | the server refused the user name or password |
    /// | [`Misconfigured`](lock_core::ErrorKind::Misconfigured) | the settings cannot work, or the server fails the [checks](RedisOptions::server_checks) |
    /// | [`Unsupported`](lock_core::ErrorKind::Unsupported) | the set-up needs a feature of this crate that is off |
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connections that it has opened.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> lock_core::Result<()> {
    /// use lock_redis::{RedisConfig, RedisProvider};
    ///
    /// let config = RedisConfig::tcp("db-1", 6379).user("locks").password("s3cret").prefix("app:");
    /// let provider = RedisProvider::connect(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(config: RedisConfig) -> Result<Self> {
        let options = config.options().clone();
        if config.is_cluster() {
            return Self::with_cluster(config.cluster_client()?, options).await;
        }
        Self::with_endpoint(Endpoint::of(config)?, options).await
    }

    /// Connects by a client that the application has already.
    ///
    /// # Errors
    ///
    /// As [`connect`](RedisProvider::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connections that it has opened.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use lock_redis::{RedisOptions, RedisProvider, redis};
    ///
    /// let client = redis::Client::open("redis://db-1")?;
    /// let options = RedisOptions::new().prefix("app:");
    /// let provider = RedisProvider::with_client(&client, options).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn with_client(client: &redis::Client, options: RedisOptions) -> Result<Self> {
        Self::with_endpoint(Endpoint::Client(Box::new(client.clone())), options).await
    }

    async fn with_endpoint(endpoint: Endpoint, options: RedisOptions) -> Result<Self> {
        options.check()?;
        let prefix = Prefix::new(&options.prefix)?;
        // Sentinels may name another server later, so each one is checked.
        let checks = match endpoint.is_fixed() {
            true => ServerChecks::of_a_server(options.server_checks),
            false => Some(ServerChecks::of_a_master(options.server_checks)),
        };
        let (links, subscriber) = closed(endpoint, &options, &prefix, checks)?;
        links.connect().await?;
        Ok(Self::over(links, Some(subscriber), prefix, &options))
    }

    #[cfg(feature = "cluster")]
    async fn with_cluster(client: ClusterClient, options: RedisOptions) -> Result<Self> {
        options.refuse_replicas("a cluster")?;
        let prefix = Prefix::new(&options.prefix)?;
        let subscriber = Subscriber::of_a_cluster(&client)?;
        let replaced = subscriber.closing();
        let links = Links::of_cluster(&client, &replaced, options.server_checks).await?;
        Ok(Self::over(links, Some(subscriber), prefix, &options))
    }

    #[cfg(not(feature = "cluster"))]
    async fn with_cluster(client: Infallible, _: RedisOptions) -> Result<Self> {
        match client {}
    }

    /// Connects over a pool that the application has already.
    ///
    /// **Use a pool to save connections, not time.** It takes and checks a connection for every
    /// acquisition, which costs three times the commands and twice the latency of
    /// [`connect`](RedisProvider::connect). Its waiters poll: the provider has neither
    /// [`Hints`](lock_core::Capability::Hints) nor [`Queue`](lock_core::Capability::Queue).
    ///
    /// The pool's manager opens one more connection, for renewals and releases, so that an
    /// exhausted pool costs no held lock. The server is checked whenever this connection is opened.
    /// The connections of the pool itself are not checked.
    ///
    /// # Errors
    ///
    /// As [`connect`](RedisProvider::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future returns the pool's connections to it.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use lock_redis::{RedisOptions, RedisProvider, deadpool_redis};
    ///
    /// let pool = deadpool_redis::Config::from_url("redis://db-1").create_pool(None)?;
    /// let options = RedisOptions::new().prefix("app:");
    /// let provider = RedisProvider::with_pool(pool, options).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[cfg(feature = "deadpool")]
    pub async fn with_pool(pool: deadpool_redis::Pool, options: RedisOptions) -> Result<Self> {
        options.refuse_replicas("a pool")?;
        let prefix = Prefix::new(&options.prefix)?;
        let checks = ServerChecks::of_a_server(options.server_checks);
        Ok(Self::over(Links::of_pool(pool, checks).await?, None, prefix, &options))
    }

    fn over(
        links: Links,
        subscriber: Option<Subscriber>,
        prefix: Prefix,
        options: &RedisOptions,
    ) -> Self {
        let info = info().with_resending(links.may_resend());
        let scripts = Scripts::new(options.token_retention());
        Self { info, store: Arc::new(Store { links, subscriber, scripts, prefix, settle: None }) }
    }

    /// Prepares one node of a quorum. The first request connects to it.
    pub(crate) fn node(
        config: RedisConfig,
        settle: Option<Ttl>,
        checks: ServerChecks,
    ) -> Result<Self> {
        let options = config.options().clone();
        let endpoint = Endpoint::of(config)?;
        options.refuse_replicas("a node of a quorum")?;
        let prefix = Prefix::new(&options.prefix)?;
        // Waiters of a quorum poll, so they need no subscriber.
        let (links, _) = closed(endpoint, &options, &prefix, Some(checks))?;
        let info = info().with_ttls(Ttl::MIN..=settle.unwrap_or(Ttl::MAX));
        let settle = settle.map(|time| (prefix.mark(), time));
        let scripts = Scripts::new(options.token_retention_of_a_node()?);
        let store = Store { links, subscriber: None, scripts, prefix, settle };
        Ok(Self { info, store: Arc::new(store) })
    }

    /// Returns the server's process if the node of a quorum has no mark for it.
    pub(crate) async fn unsettled(&self) -> Result<Option<String>> {
        self.mark("").await
    }

    /// Marks a node of a new quorum as one that remembers, if its process is still this one.
    pub(crate) async fn settle(&self, process: &str) -> Result<()> {
        self.mark(process).await.map(drop)
    }

    async fn mark(&self, process: &str) -> Result<Option<String>> {
        let Some((mark, _)) = &self.store.settle else { return Ok(None) };
        let mut call = Call::new(&self.store.scripts.settle, [mark]);
        call.arg(process);
        Ok(match self.store.links.invoke(Purpose::Acquire, call).await? {
            Value::BulkString(process) => Some(String::from_utf8_lossy(&process).into_owned()),
            _ => None,
        })
    }
}

/// Prepares the connections to one server at a time, and the subscription beside them. With
/// sentinels, a new connection may go to another server, so it ends the subscription at the old
/// one.
fn closed(
    endpoint: Endpoint,
    options: &RedisOptions,
    prefix: &Prefix,
    checks: Option<ServerChecks>,
) -> Result<(Links, Subscriber)> {
    let timeouts = options.timeouts();
    let subscriber = Subscriber::new(endpoint.clone(), timeouts, prefix)?;
    let replaced = (!endpoint.is_fixed()).then(|| subscriber.closing());
    let links = Links::closed(endpoint, timeouts, checks, replaced, options.replicas);
    Ok((links, subscriber))
}

impl LockProvider for RedisProvider {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        Arc::new(RedisLock::new(Arc::clone(&self.store), claim))
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

#[async_trait]
impl Inspect for RedisProvider {
    async fn inspect(&self, key: &LockKey) -> Result<Occupancy> {
        self.store.inspect(key).await
    }
}

/// Returns what is true of every set-up.
fn info() -> ProviderInfo {
    ProviderInfo::new("redis").with_fencing(true).with_metadata(true).with_server_clock(true)
}

impl fmt::Debug for RedisProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisProvider")
            .field("links", &self.store.links)
            .field("prefix", &self.store.prefix)
            .finish_non_exhaustive()
    }
}
