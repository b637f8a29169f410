//! Connections to the nodes of a Redis Cluster. The driver finds the node for a key.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lock_core::backend::Effect;
use lock_core::{Error, ErrorKind, Result};
use redis::cluster::{ClusterClient, ClusterConfig};
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo};
use redis::{InfoDict, RedisError, RedisResult, Value};
use tokio::runtime::Handle;

use super::call::Call;
use super::listener::{Hook, Listener};
use crate::config::timeouts::Timeouts;
use crate::error::translate;
use crate::keys::slot;

/// Connections to all nodes, which are opened anew when a node stops answering.
///
/// The driver looks for another master only if a node redirects it or closes the connection. If a
/// node is silent, the driver repeats the request there, and never learns of the node's successor.
#[derive(Clone)]
pub(crate) struct Nodes(Arc<Shared>);

struct Shared {
    client: ClusterClient,
    /// Called when all connections have been replaced.
    replaced: Hook,
    /// Takes what the nodes report unasked; without it, connections only carry answers.
    listener: Option<Arc<dyn Listener>>,
    /// The driver's connections. They are used until new ones are open, so there are always some.
    connection: Mutex<ClusterConnection>,
    /// Since when requests to a slot have had no answer. An answer removes the slot; a request that
    /// was given up leaves it.
    unanswered_since: Mutex<HashMap<u16, Instant>>,
    /// Held while connections are opened anew, so that a silent node causes one new set of
    /// connections, and not one per request.
    opening: Arc<tokio::sync::Mutex<()>>,
}

impl Nodes {
    /// Connects to the nodes of a cluster.
    pub(crate) async fn connect(
        client: &ClusterClient,
        replaced: &Hook,
        listener: Option<Arc<dyn Listener>>,
    ) -> Result<Self> {
        let connection = open(client, listener.as_ref()).await.map_err(translate)?;
        Ok(Self(Arc::new(Shared {
            client: client.clone(),
            replaced: Arc::clone(replaced),
            listener,
            connection: Mutex::new(connection),
            unanswered_since: Mutex::default(),
            opening: Arc::default(),
        })))
    }

    fn connection(&self) -> ClusterConnection {
        locked(&self.0.connection).clone()
    }

    /// Subscribes to a sharded channel at the node that has its slot.
    pub(crate) async fn subscribe(&self, channel: &str) -> Result<()> {
        let mut connection = self.connection();
        let subscribed = connection.ssubscribe(channel);
        self.answered(slot(channel), subscribed).await.map_err(translate)
    }

    /// Unsubscribes from a sharded channel. If that fails, messages that nobody needs still arrive.
    pub(crate) async fn unsubscribe(&self, channel: &str) {
        let _ = self.connection().sunsubscribe(channel).await;
    }

    /// Runs a script on the node that has its keys.
    ///
    /// The driver may repeat a request, and reports only the last error. So it is not known whether
    /// an earlier copy took effect.
    pub(crate) async fn run(&self, call: &Call<'_>) -> Result<Value> {
        let request = async { call.run(&mut self.connection()).await };
        let answer = self.answered(slot(call.first_key()), request).await;
        answer.map_err(|error| translate(error).with_effect(Effect::Unknown))
    }

    /// Waits for an answer. If a slot's node has not answered for too long, all connections are
    /// opened anew.
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

    /// Opens all connections anew, in the background. The present ones are used until then.
    fn open_again(&self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let Ok(one_at_a_time) = Arc::clone(&self.0.opening).try_lock_owned() else { return };
        let shared = Arc::clone(&self.0);
        runtime.spawn(async move {
            let _until_done = one_at_a_time;
            // If it fails, later requests report why.
            if let Ok(fresh) = open(&shared.client, shared.listener.as_ref()).await {
                *locked(&shared.connection) = fresh;
                locked(&shared.unanswered_since).clear();
                (shared.replaced)();
            }
        });
    }
}

/// Opens the connections anew if a request is given up and its node has been silent for too long.
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
    listener: Option<&Arc<dyn Listener>>,
) -> RedisResult<ClusterConnection> {
    let mut config = ClusterConfig::new();
    if let Some(listener) = listener.cloned() {
        config = config.set_push_sender(move |push| {
            listener.hear(&push);
            Ok::<_, Infallible>(())
        });
    }
    client.get_async_connection_with_config(config).await
}

/// Returns the `INFO` of every master.
pub(crate) async fn infos(nodes: &Nodes) -> Result<Vec<InfoDict>> {
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let answer = nodes.connection().route_command(redis::cmd("INFO"), masters).await;
    let Value::Map(answers) = answer.map_err(translate)? else {
        return Err(Error::new(
            ErrorKind::Corrupt,
            "the cluster's answer to `INFO` cannot be read",
        ));
    };
    let read = |(_, info): (Value, Value)| {
        let info = info.extract_error().map_err(translate)?;
        redis::from_redis_value(info).map_err(|error: redis::ParsingError| translate(error.into()))
    };
    answers.into_iter().map(read).collect()
}
