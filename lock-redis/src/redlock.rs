//! A quorum of independent Redis servers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use lock_core::backend::{ProviderUrl, Ttl};
use lock_core::{Error, ErrorKind, LockProvider, Result};
use lock_quorum::Quorum;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::config::RedisConfig;
use crate::config::url::URL_OPTIONS;
use crate::error::misconfigured;
use crate::net::checks::{NodeProcesses, ServerChecks};
use crate::provider::RedisProvider;

/// How long a node without a mark grants nothing, unless configured.
const SETTLE: Duration = Duration::from_secs(60);

/// How often to read the marks again while only some nodes have one, and after which pauses.
/// Another client may be marking the nodes.
const LOOKS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Configures a quorum of independent servers.
///
/// The servers must fail independently, so replicas of one another are refused. Use an odd number
/// of servers. A majority must be reachable to connect. A server that cannot be reached takes part
/// once it is back.
///
/// # A server that forgets
///
/// A server that restarts may have lost some of its data, and could grant a key that another owner
/// holds. Therefore each node stores a mark that names its server process. A node whose mark is
/// missing, or names another process, grants nothing for the time [`settle`](Self::settle). No ttl
/// may be longer than this time.
///
/// A quorum counts as new if all its servers are reached and none has a mark. A new quorum grants
/// at once. A server that joins later waits like one that has lost its data.
///
/// # Examples
///
/// ```no_run
/// # async fn example() -> lock_core::Result<()> {
/// use lock_core::LockClient;
/// use lock_redis::{RedisConfig, RedlockConfig};
///
/// let nodes = ["db-1", "db-2", "db-3"].map(|host| RedisConfig::tcp(host, 6379));
/// let locks = LockClient::new(RedlockConfig::new(nodes).connect().await?);
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use = "a configuration does nothing until it is connected"]
pub struct RedlockConfig {
    nodes: Vec<RedisConfig>,
    node_timeout: Option<Duration>,
    settle: Option<Duration>,
}

impl RedlockConfig {
    /// Names the servers, each with its own credentials and options.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::{RedisConfig, RedlockConfig};
    /// let nodes = ["db-1", "db-2", "db-3"].map(|host| RedisConfig::tcp(host, 6379).prefix("app:"));
    /// let config = RedlockConfig::new(nodes);
    /// ```
    pub fn new(nodes: impl IntoIterator<Item = RedisConfig>) -> Self {
        let nodes = nodes.into_iter().collect();
        Self { nodes, node_timeout: None, settle: Some(SETTLE) }
    }

    /// Sets how long one server may take to answer before the others decide without it; 200 ms by
    /// default. See [`Quorum::node_timeout`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lock_redis::{RedisConfig, RedlockConfig};
    /// # let nodes = ["db-1", "db-2", "db-3"].map(|host| RedisConfig::tcp(host, 6379));
    /// let config = RedlockConfig::new(nodes).node_timeout(Duration::from_millis(500));
    /// ```
    pub fn node_timeout(mut self, limit: Duration) -> Self {
        self.node_timeout = Some(limit);
        self
    }

    /// Sets how long a server that may have lost data grants nothing; 60 seconds by default. No ttl
    /// may be longer. Use one value for all clients of a prefix.
    ///
    /// **With `None`, a server grants at once after a restart, and two owners may hold a key.** Use
    /// it only if the servers lose nothing (`appendfsync always`), or if you keep a restarted
    /// server down for longer than every ttl.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lock_redis::{RedisConfig, RedlockConfig};
    /// # let nodes = ["db-1", "db-2", "db-3"].map(|host| RedisConfig::tcp(host, 6379));
    /// let config = RedlockConfig::new(nodes).settle(Some(Duration::from_secs(10 * 60)));
    /// ```
    pub fn settle(mut self, time: Option<Duration>) -> Self {
        self.settle = time;
        self
    }

    /// Reads a configuration from a URL:
    /// `redlock://[[user]:password@]host[:port],host[:port],…[/database]`, or `redlocks://…` with
    /// TLS.
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `prefix`, `server_checks`, `connect_timeout`, `fencing_ttl`, `ca` | as in [`RedisConfig::from_url`] |
    /// | `node_timeout` (such as `200ms`) | [`node_timeout`](Self::node_timeout) |
    /// | `settle` (such as `1m`, or `off`) | [`settle`](Self::settle) |
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](ErrorKind::Misconfigured) if the URL cannot work. The message says what
    /// would be right.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::backend::ProviderUrl;
    /// # use lock_redis::RedlockConfig;
    /// # fn main() -> lock_core::Result<()> {
    /// let url = ProviderUrl::parse("redlock://db-1,db-2,db-3/?prefix=app:&settle=10m")?;
    /// let config = RedlockConfig::from_url(&url)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_url(url: &ProviderUrl) -> Result<Self> {
        let tls = url.scheme() == "redlocks";
        let mut known = URL_OPTIONS.to_vec();
        known.extend(tls.then_some("ca"));
        known.extend(["node_timeout", "settle"]);
        let given = url.options(&known)?;
        let nodes = url
            .hosts()
            .iter()
            .map(|(host, port)| RedisConfig::of_host(url, &given, tls, host, *port));
        let mut config = Self::new(nodes.collect::<Result<Vec<_>>>()?);
        if let Some(limit) = given.duration("node_timeout")? {
            config = config.node_timeout(limit);
        }
        if given.get("settle") == Some("off") {
            config = config.settle(None);
        } else if let Some(time) = given.duration("settle")? {
            config = config.settle(Some(time));
        }
        Ok(config)
    }

    /// Connects to the servers, and checks that locks are safe on those that can be reached.
    ///
    /// After a majority has been reached, connecting waits for the other servers:
    ///
    /// | the servers reached so far | the others have |
    /// |---|---|
    /// | all have a mark | the node timeout |
    /// | one has no mark, so the quorum may be new | the connect timeout |
    ///
    /// A server that is reached later is checked then.
    ///
    /// # Errors
    ///
    /// | kind | reason |
    /// |---|---|
    /// | [`Unavailable`](ErrorKind::Unavailable) | no majority can be reached |
    /// | [`Misconfigured`](ErrorKind::Misconfigured) | one server is named twice, or is a replica |
    /// | others | those of [`RedisProvider::connect`], of any server |
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connections that it has opened.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> lock_core::Result<()> {
    /// use lock_core::LockClient;
    /// use lock_redis::{RedisConfig, RedlockConfig};
    ///
    /// let nodes = ["db-1", "db-2", "db-3"].map(|host| RedisConfig::tcp(host, 6379));
    /// let quorum = RedlockConfig::new(nodes).connect().await?;
    /// let locks = LockClient::new(quorum);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(self) -> Result<Quorum> {
        if self.nodes.is_empty() {
            return misconfigured("the quorum has no nodes; write `redlock://host1,host2,host3`");
        }
        let settle = self.settle.map(Ttl::new).transpose()?;
        let processes = Arc::new(NodeProcesses::default());
        let mut nodes = Vec::new();
        for (number, node) in self.nodes.into_iter().enumerate() {
            let checks =
                ServerChecks::of_a_node(number + 1, node.options().server_checks, &processes);
            nodes.push(RedisProvider::node(node, settle, checks)?);
        }
        let node_timeout = self.node_timeout.unwrap_or(Quorum::DEFAULT_NODE_TIMEOUT);
        let reached = reach(&nodes, node_timeout).await?;
        begin(&reached, nodes.len()).await?;
        let nodes = nodes.into_iter().map(|node| Arc::new(node) as Arc<dyn LockProvider>);
        Quorum::new(nodes)?.node_timeout(node_timeout)
    }
}

/// Connects to a majority of the nodes, and to those that answer within the node timeout after
/// that. If the quorum may be new, all nodes are waited for, because only all of them show that it
/// is.
async fn reach(nodes: &[RedisProvider], node_timeout: Duration) -> Result<Vec<RedisProvider>> {
    // A connection that is still being opened on return serves the first request.
    let mut connecting: JoinSet<_> = nodes
        .iter()
        .cloned()
        .map(|node| async move { node.store.links.connect().await.map(|()| node) })
        .collect();
    let majority = nodes.len() / 2 + 1;
    let (mut reached, mut failure, mut give_up) = (Vec::new(), None, None);
    loop {
        let next = connecting.join_next();
        let connected = match give_up {
            None => next.await,
            Some(at) => match tokio::time::timeout_at(at, next).await {
                Ok(connected) => connected,
                Err(_time_is_up) if unmarked(&reached).await?.is_empty() => return Ok(reached),
                Err(_time_is_up) => {
                    give_up = None;
                    continue;
                }
            },
        };
        match connected {
            None => break,
            Some(Ok(Ok(node))) => {
                reached.push(node);
                if reached.len() == majority {
                    give_up = Some(Instant::now() + node_timeout);
                }
            }
            Some(Ok(Err(error))) if error.is_unavailable() => failure = Some(error),
            Some(Ok(Err(error))) => return Err(error),
            Some(Err(gone)) => {
                let message = "a connection could not be opened";
                return Err(Error::new(ErrorKind::Unavailable, message).with_source(gone));
            }
        }
    }
    match failure {
        Some(failure) if reached.len() < majority => {
            let message = format!(
                "{} of {} nodes of the quorum can be reached; it needs {majority}",
                reached.len(),
                nodes.len()
            );
            Err(Error::new(ErrorKind::Unavailable, message).with_source(failure))
        }
        _ => Ok(reached),
    }
}

/// Returns the nodes without a mark, each with the name of its process.
async fn unmarked(reached: &[RedisProvider]) -> Result<Vec<(&RedisProvider, String)>> {
    let mut unmarked = Vec::new();
    for node in reached {
        match node.unsettled().await {
            Ok(None) => {}
            Ok(Some(process)) => unmarked.push((node, process)),
            Err(error) if error.is_unavailable() => {} // lost since it was reached
            Err(error) => return Err(error),
        }
    }
    Ok(unmarked)
}

/// Marks the nodes of a new quorum: one of which all nodes are reached, and none has a mark.
async fn begin(reached: &[RedisProvider], size: usize) -> Result<()> {
    for _ in 0..LOOKS {
        let unmarked = unmarked(reached).await?;
        if unmarked.is_empty() {
            break;
        }
        if unmarked.len() == size {
            for (node, process) in unmarked {
                node.settle(&process).await?;
            }
            break;
        }
        // Another client may be marking them.
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

impl fmt::Debug for RedlockConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedlockConfig")
            .field("nodes", &self.nodes)
            .field("node_timeout", &self.node_timeout)
            .field("settle", &self.settle)
            .finish()
    }
}
