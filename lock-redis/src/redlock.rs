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

/// How long a node without its memory is left out, unless the application says otherwise.
const SETTLE: Duration = Duration::from_secs(60);

/// How often to look whether a minority of the nodes has no mark, and when, before believing it.
const LOOKS: usize = 5;
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Says which independent servers make up a quorum, and how locks are kept on it.
///
/// The servers must fail independently, so replicas of one another are refused. They should be an odd
/// number. A server that is out of reach when the quorum is connected, or later, joins in when it is
/// back; it takes a majority to begin.
///
/// # A server that forgets
///
/// A server that restarts, and has lost some of its data, could grant a key that somebody holds. So
/// every node bears a mark of the process it was; one that finds itself another is left out of grants for [`settle`](Self::settle), which
/// no lease may outlast. A quorum is taken for new, and used at once, when all its servers can be
/// reached and none has a mark; a server that joins later waits like one that has lost its data.
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
    /// Names the servers.
    pub fn new(nodes: impl IntoIterator<Item = RedisConfig>) -> Self {
        let nodes = nodes.into_iter().collect();
        Self { nodes, node_timeout: None, settle: Some(SETTLE) }
    }

    /// Sets how long one server may take to answer before the others decide without it; see
    /// [`Quorum::node_timeout`].
    pub fn node_timeout(mut self, limit: Duration) -> Self {
        self.node_timeout = Some(limit);
        self
    }

    /// Sets how long a server that has lost its data grants nothing; 60 seconds unless configured. No
    /// ttl may be longer. `None` is for servers that lose nothing (`appendfsync always`), or for an
    /// operator who keeps such a server down for as long.
    pub fn settle(mut self, time: Option<Duration>) -> Self {
        self.settle = time;
        self
    }

    /// Reads a URL: `redlock://[[user]:password@]host[:port],host[:port],…[/database]`, or
    /// `redlocks://…` with TLS.
    ///
    /// Options: those of `redis://` and `rediss://`, and `node_timeout` and `settle` (such as `1m`,
    /// or `off`).
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](ErrorKind::Misconfigured), saying what is wrong and what is known.
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
    /// Once a majority is connected, the others are waited for as long as the node timeout. They are
    /// waited for as long as connecting may take if one of those reached has no mark, as the quorum may
    /// be a new one. A server that comes later is checked when it is used.
    ///
    /// # Errors
    ///
    /// [`Unavailable`](ErrorKind::Unavailable) when no majority can be reached,
    /// [`Misconfigured`](ErrorKind::Misconfigured) when one server is named twice or is a replica, and
    /// what else [`RedisProvider::connect`] reports of any of them.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes whatever was opened.
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

/// Connects to a majority of the nodes, and to those that answer within the node timeout after it. All
/// are waited for where the quorum may be a new one, as only all of them can begin it.
async fn reach(nodes: &[RedisProvider], node_timeout: Duration) -> Result<Vec<RedisProvider>> {
    // What is still being opened when this returns is opened for the first request.
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
            Err(error) if error.is_unavailable() => {} // it has left meanwhile
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
        // Somebody else may be marking them just now.
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
