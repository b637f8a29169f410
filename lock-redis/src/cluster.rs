//! Connections to all nodes of a Redis Cluster. The driver keeps them, and finds the node for a key.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lock_core::{Error, ErrorKind, OwnerFingerprint, Result, Watch};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{InfoDict, Value};
use tokio::sync::RwLock;

use crate::error::translate;
use crate::news::News;

/// How many channels that nobody listens to any more may stay open, beside as many as are in use.
const IDLE: usize = 100;

/// Connects to the nodes of a cluster, and passes on what they tell.
pub(crate) async fn connect(
    client: &ClusterClient,
    news: Option<Arc<News>>,
) -> Result<ClusterConnection> {
    let config = ClusterConfig::new();
    let config = match news {
        None => config,
        Some(news) => config.set_push_sender(move |push| {
            news.hear(&push);
            Ok::<_, Infallible>(())
        }),
    };
    client.get_async_connection_with_config(config).await.map_err(translate)
}

/// Asks every master about itself.
pub(crate) async fn infos(connection: &ClusterConnection) -> Result<Vec<InfoDict>> {
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let answer = connection.clone().route_command(redis::cmd("INFO"), masters).await;
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
    connection: ClusterConnection,
    open: Mutex<HashSet<Arc<str>>>,
    /// How many open ones are reason to look for idle ones.
    enough: AtomicUsize,
    /// Held by those who subscribe, and alone by who unsubscribes: the two must not cross.
    subscribing: RwLock<()>,
}

impl Shards {
    /// Uses the connection whose news are passed on.
    pub(crate) fn over(connection: ClusterConnection) -> Self {
        let (open, subscribing) = Default::default();
        Self { connection, open, enough: AtomicUsize::new(IDLE), subscribing }
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
            self.connection.clone().ssubscribe(&*shard).await.map_err(translate)?;
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
            let _ = self.connection.clone().sunsubscribe(&*shard).await;
        }
    }

    fn open(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
