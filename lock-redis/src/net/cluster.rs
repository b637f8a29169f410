//! Connections to all nodes of a Redis Cluster. The driver keeps them, and finds the node for a key.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lock_core::{Effect, Error, ErrorKind, OwnerFingerprint, Result, Watch};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{InfoDict, RedisError, RedisResult, Value};
use tokio::runtime::Handle;
use tokio::sync::{OnceCell, RwLock};

use crate::config::timeouts::Timeouts;
use crate::error::translate;
use crate::keys::slot;
use crate::net::call::Call;
use crate::wait::news::News;

/// How many channels that nobody listens to any more may stay open, beside as many as are in use.
const IDLE: usize = 100;

/// Connections to all nodes, which are opened anew when one of them says nothing.
///
/// The driver looks for another master when a node sends it away or closes the connection. To one that is
/// silent it sends the same request again and again, and never learns of its successor.
#[derive(Clone)]
pub(crate) struct Nodes(Arc<Shared>);

struct Shared {
    client: ClusterClient,
    news: Arc<News>,
    /// Whether what the nodes tell is passed on.
    listens: bool,
    connection: Mutex<ClusterConnection>,
    /// Since when a slot's node has owed an answer without having given any.
    unanswered_since: Mutex<HashMap<u16, Instant>>,
    /// Held while connections are opened again.
    opening: Arc<tokio::sync::Mutex<()>>,
}

impl Nodes {
    /// Connects to the nodes of a cluster.
    pub(crate) async fn connect(
        client: &ClusterClient,
        news: &Arc<News>,
        listens: bool,
    ) -> Result<Self> {
        let connection = open(client, news, listens).await.map_err(translate)?;
        Ok(Self(Arc::new(Shared {
            client: client.clone(),
            news: Arc::clone(news),
            listens,
            connection: Mutex::new(connection),
            unanswered_since: Mutex::default(),
            opening: Arc::default(),
        })))
    }

    fn connection(&self) -> ClusterConnection {
        locked(&self.0.connection).clone()
    }

    /// Runs a script on the node that has its keys.
    ///
    /// The driver sends a request again where it sees fit, and tells the last error only: so whether an
    /// earlier one was served is not known.
    pub(crate) async fn run(&self, call: &Call<'_>) -> Result<Value> {
        let request = async { call.run(&mut self.connection()).await };
        let answer = self.answered(slot(call.first_key()), request).await;
        answer.map_err(|error| translate(error).with_effect(Effect::Unknown))
    }

    /// Waits for an answer; when too long none has come from a slot's node, all connections are opened
    /// anew.
    async fn answered<T>(
        &self,
        slot: u16,
        request: impl Future<Output = RedisResult<T>>,
    ) -> RedisResult<T> {
        locked(&self.0.unanswered_since).entry(slot).or_insert_with(Instant::now);
        let mut unanswered = Unanswered { nodes: Some(self), slot };
        let answer = request.await;
        if !answer.as_ref().is_err_and(RedisError::is_timeout) {
            unanswered.nodes = None;
            locked(&self.0.unanswered_since).remove(&slot);
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
            if let Ok(fresh) = open(&shared.client, &shared.news, shared.listens).await {
                *locked(&shared.connection) = fresh;
                locked(&shared.unanswered_since).clear();
                // Who listens may do so where nothing is told any more.
                shared.news.end();
            }
        });
    }
}

/// Opens the connections again when a request is given up and its node has been silent for long.
struct Unanswered<'a> {
    nodes: Option<&'a Nodes>,
    slot: u16,
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        let Some(nodes) = self.nodes else { return };
        let since = locked(&nodes.0.unanswered_since).get(&self.slot).copied();
        if since.is_some_and(|since| since.elapsed() >= Timeouts::SILENCE) {
            nodes.open_again();
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn open(
    client: &ClusterClient,
    news: &Arc<News>,
    listens: bool,
) -> RedisResult<ClusterConnection> {
    let mut config = ClusterConfig::new();
    if listens {
        let news = Arc::clone(news);
        config = config.set_push_sender(move |push| {
            news.hear(&push);
            Ok::<_, Infallible>(())
        });
    }
    client.get_async_connection_with_config(config).await
}

/// Asks every master about itself.
pub(crate) async fn infos(nodes: &Nodes) -> Result<Vec<InfoDict>> {
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let answer = nodes.connection().route_command(redis::cmd("INFO"), masters).await;
    let Value::Map(answers) = answer.map_err(translate)? else {
        return Err(Error::new(ErrorKind::Corrupt, "the cluster's answer makes no sense"));
    };
    let read = |(_, info): (Value, Value)| {
        let info = info.extract_error().map_err(translate)?;
        redis::from_redis_value(info).map_err(|error: redis::ParsingError| translate(error.into()))
    };
    answers.into_iter().map(read).collect()
}

/// The sharded channels of those who wait: one for each lock, in its slot, so that the node that has
/// the lock can tell whether a waiter hears it.
///
/// They have connections of their own. A server tells of a channel that moves away unasked, and of
/// several that are subscribed to at once one by one; the driver takes each for the answer to
/// whatever was sent first. No grant may ever be mistaken like that.
pub(crate) struct Shards {
    client: ClusterClient,
    /// Opened by the first waiter.
    nodes: OnceCell<Nodes>,
    open: Mutex<HashSet<Arc<str>>>,
    /// How many open ones are reason to look for idle ones.
    enough: AtomicUsize,
    /// Held by those who subscribe, and alone by who unsubscribes: the two must not cross.
    subscribing: RwLock<()>,
}

impl Shards {
    pub(crate) fn of(client: &ClusterClient) -> Self {
        let (nodes, open, subscribing) = Default::default();
        Self { client: client.clone(), nodes, open, enough: AtomicUsize::new(IDLE), subscribing }
    }

    /// Begins to listen for one claim.
    pub(crate) async fn watch(
        &self,
        news: &Arc<News>,
        owner: OwnerFingerprint,
        shard: Option<Arc<str>>,
    ) -> Result<Watch> {
        let nodes = self.nodes.get_or_try_init(|| Nodes::connect(&self.client, news, true)).await?;
        self.close_idle(nodes, news).await;
        let _subscribing = self.subscribing.read().await;
        let watch = news.add(owner, shard.clone());
        if let Some(shard) = shard {
            locked(&self.open).insert(Arc::clone(&shard));
            let mut connection = nodes.connection();
            let subscribed = connection.ssubscribe(&*shard);
            nodes.answered(slot(&shard), subscribed).await.map_err(translate)?;
        }
        Ok(watch)
    }

    /// Unsubscribes from what nobody listens to, if that has become much.
    async fn close_idle(&self, nodes: &Nodes, news: &News) {
        if locked(&self.open).len() < self.enough.load(Ordering::Relaxed) {
            return;
        }
        let Ok(_alone) = self.subscribing.try_write() else { return };
        let used = news.shards();
        let idle: Vec<_> = locked(&self.open).difference(&used).cloned().collect();
        self.enough.store(2 * used.len() + IDLE, Ordering::Relaxed);
        for shard in idle {
            locked(&self.open).remove(&shard);
            let _ = nodes.connection().sunsubscribe(&*shard).await;
        }
    }
}
