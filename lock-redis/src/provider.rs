//! The provider: one server, sentinels, a cluster or a pool.

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
/// The [crate's page](crate) lists what it guarantees, and what it stores. Each verb is one atomic script.
///
/// Two connections are kept: one for acquisitions, one for renewals and releases, so that a flood of
/// the former cannot delay the latter until a lease ends.
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
    /// [`Unavailable`](lock_core::ErrorKind::Unavailable) when it is out of reach,
    /// [`Denied`](lock_core::ErrorKind::Denied) for a wrong password,
    /// [`Misconfigured`](lock_core::ErrorKind::Misconfigured) for settings that cannot work and for a
    /// server that may evict locks or cannot write; see [`RedisOptions::server_checks`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes whatever was opened.
    pub async fn connect(config: RedisConfig) -> Result<Self> {
        let options = config.options().clone();
        if config.is_cluster() {
            return Self::with_cluster(config.cluster_client()?, options).await;
        }
        Self::with_endpoint(Endpoint::of(config)?, options).await
    }

    /// Opens connections with a client that the application has already.
    ///
    /// # Errors
    ///
    /// As [`connect`](RedisProvider::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes whatever was opened.
    pub async fn with_client(client: &redis::Client, options: RedisOptions) -> Result<Self> {
        Self::with_endpoint(Endpoint::Client(Box::new(client.clone())), options).await
    }

    async fn with_endpoint(endpoint: Endpoint, options: RedisOptions) -> Result<Self> {
        options.check()?;
        let prefix = Prefix::new(&options.prefix)?;
        // What is true of one server need not be true of the next.
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

    /// Runs locks over a pool that the application has already.
    ///
    /// A pool takes and checks a connection for every acquisition, which costs three times the
    /// commands and twice the latency of [`connect`](RedisProvider::connect); use it to save
    /// connections, not time. One connection is opened beside the pool, by its manager, for renewals
    /// and releases: a pool that is used up must not cost a held lock. Its waiters ask again after their
    /// delays: it has neither [`Hints`](lock_core::Capability::Hints) nor
    /// [`Queue`](lock_core::Capability::Queue).
    ///
    /// The server is checked at the start, and whenever the connection beside the pool is opened. A
    /// connection that the pool itself opens later is not checked.
    ///
    /// # Errors
    ///
    /// As [`connect`](RedisProvider::connect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives every connection back.
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

    /// Prepares one node of a quorum; it connects when it is asked to, and again when it must.
    pub(crate) fn node(
        config: RedisConfig,
        settle: Option<Ttl>,
        checks: ServerChecks,
    ) -> Result<Self> {
        let options = config.options().clone();
        let endpoint = Endpoint::of(config)?;
        options.refuse_replicas("a node of a quorum")?;
        let prefix = Prefix::new(&options.prefix)?;
        // Waiters of a quorum poll.
        let (links, _) = closed(endpoint, &options, &prefix, Some(checks))?;
        let info = info().with_ttls(Ttl::MIN..=settle.unwrap_or(Ttl::MAX));
        let settle = settle.map(|time| (prefix.mark(), time));
        let scripts = Scripts::new(options.token_retention_of_a_node()?);
        let store = Store { links, subscriber: None, scripts, prefix, settle };
        Ok(Self { info, store: Arc::new(store) })
    }

    /// Names the server's process, if the node of a quorum has no mark of one that remembers.
    pub(crate) async fn unsettled(&self) -> Result<Option<String>> {
        self.mark("").await
    }

    /// Marks a node of a new quorum as one that remembers, if it is still this process.
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

/// Prepares the connections to one server at a time, and the subscription beside them. Where the server
/// may be another one tomorrow, a connection to the new one ends the subscription to the old one.
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

/// What every set-up promises.
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
