//! Connections to all nodes of a Redis Cluster. The driver keeps them, and finds the node for a key.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lock_core::{Error, ErrorKind, OwnerFingerprint, Result, Watch};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{InfoDict, RedisError, RedisResult, Value};
use tokio::runtime::Handle;
use tokio::sync::RwLock;

use crate::error::translate;
use crate::news::News;
use crate::scripts::Call;

/// How many channels that nobody listens to any more may stay open, beside as many as are in use.
const IDLE: usize = 100;

/// A request that is not answered for so long has met a node that is frozen or cut off.
const SILENCE: Duration = Duration::from_secs(1);

/// Connections to all nodes, which are opened anew when one of them says nothing.
///
/// The driver looks for another master when a node sends it away or closes the connection. To one that is
/// silent it sends the same request again and again, and never learns of its successor.
#[derive(Clone)]
pub(crate) struct Nodes(Arc<Shared>);

struct Shared {
    client: ClusterClient,
    /// Whom to pass on what the nodes tell, if anybody.
    news: Option<Arc<News>>,
    connection: Mutex<ClusterConnection>,
    /// Held while connections are opened again.
    opening: Arc<tokio::sync::Mutex<()>>,
}

impl Nodes {
    /// Connects to the nodes of a cluster.
    pub(crate) async fn connect(client: &ClusterClient, news: Option<Arc<News>>) -> Result<Self> {
        let connection = Mutex::new(open(client, news.clone()).await.map_err(translate)?);
        let (client, opening) = (client.clone(), Arc::default());
        Ok(Self(Arc::new(Shared { client, news, connection, opening })))
    }

    fn connection(&self) -> ClusterConnection {
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs a script on the node that has its keys.
    pub(crate) async fn run(&self, call: &Call) -> RedisResult<Value> {
        let mut unanswered = Unanswered { nodes: Some(self), since: Instant::now() };
        let answer = call.run(&mut self.connection()).await;
        if !answer.as_ref().is_err_and(RedisError::is_timeout) {
            unanswered.nodes = None;
        }
        answer
    }

    /// Opens all connections anew, in the background; the present ones serve until then.
    fn open_again(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let Ok(one_at_a_time) = Arc::clone(&self.0.opening).try_lock_owned() else { return };
        let shared = Arc::clone(&self.0);
        runtime.spawn(async move {
            let _until_done = one_at_a_time;
            // Where it fails, requests go on telling what is wrong.
            if let Ok(fresh) = open(&shared.client, shared.news.clone()).await {
                *shared.connection.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
                // Who listened over the old ones must listen again.
                shared.news.iter().for_each(|news| news.end());
            }
        });
    }
}

/// Opens the connections again when a request is given up that has had no answer for long.
struct Unanswered<'a> {
    nodes: Option<&'a Nodes>,
    since: Instant,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some(nodes) = self.nodes
            && self.since.elapsed() >= SILENCE
        {
            nodes.open_again();
        }
    }
}

async fn open(client: &ClusterClient, news: Option<Arc<News>>) -> RedisResult<ClusterConnection> {
    let config = ClusterConfig::new();
    let config = match news {
        None => config,
        Some(news) => config.set_push_sender(move |push| {
            news.hear(&push);
            Ok::<_, Infallible>(())
        }),
    };
    client.get_async_connection_with_config(config).await
}

/// Asks every master about itself.
pub(crate) async fn infos(nodes: &Nodes) -> Result<Vec<InfoDict>> {
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let answer = nodes.connection().route_command(redis::cmd("INFO"), masters).await;
    let Value::Map(answers) = answer.map_err(translate)? else {
        return Err(Error::new(ErrorKind::Corrupt, "the cluster's answer makes no sense"));
    };
    let read = |(_, info)| {
        redis::from_redis_value(info).map_err(|error: redis::ParsingError| translate(error.into()))
    };
    answers.into_iter().map(read).collect()
}

/// The sharded channels of those who wait: one for each lock, in its slot, so that the node that has
/// the lock can tell whether a waiter hears it.
pub(crate) struct Shards {
    nodes: Nodes,
    open: Mutex<HashSet<Arc<str>>>,
    /// How many open ones are reason to look for idle ones.
    enough: AtomicUsize,
    /// Held by those who subscribe, and alone by who unsubscribes: the two must not cross.
    subscribing: RwLock<()>,
}

impl Shards {
    /// Uses the connection whose news are passed on.
    pub(crate) fn over(nodes: Nodes) -> Self {
        let (open, subscribing) = Default::default();
        Self { nodes, open, enough: AtomicUsize::new(IDLE), subscribing }
    }

    /// Begins to listen for one claim.
    pub(crate) async fn watch(
        &self,
        news: &News,
        owner: OwnerFingerprint,
        shard: Option<Arc<str>>,
    ) -> Result<Watch> {
        self.close_idle(news).await;
        let _subscribing = self.subscribing.read().await;
        let watch = news.add(owner, shard.clone());
        if let Some(shard) = shard {
            self.nodes.connection().ssubscribe(&*shard).await.map_err(translate)?;
            self.open().insert(shard);
        }
        Ok(watch)
    }

    /// Unsubscribes from what nobody listens to, if that has become much.
    async fn close_idle(&self, news: &News) {
        if self.open().len() < self.enough.load(Ordering::Relaxed) {
            return;
        }
        let Ok(_alone) = self.subscribing.try_write() else { return };
        let used = news.shards();
        let idle: Vec<_> = self.open().difference(&used).cloned().collect();
        self.enough.store(2 * used.len() + IDLE, Ordering::Relaxed);
        for shard in idle {
            self.open().remove(&shard);
            let _ = self.nodes.connection().sunsubscribe(&*shard).await;
        }
    }

    fn open(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
