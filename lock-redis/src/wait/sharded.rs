//! One subscription per key that is waited for, over connections to the nodes of a cluster.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lock_core::backend::Subscription;
use lock_core::{OwnerFingerprint, Result};
use redis::Cmd;
use redis::cluster::ClusterClient;
use tokio::sync::{OnceCell, RwLock};

use super::channel::Channel;
use super::waiters::Waiters;
use crate::keys::Keys;
use crate::net::cluster::Nodes;
use crate::net::listener::{Hook, Listener};

/// How many channels without a listener may stay open, beyond as many as are in use.
const IDLE: usize = 100;

/// The sharded channels of waiters, one per lock, in the lock's slot. So the node that has the lock
/// can count the subscribers that received a message. A message goes to one other node instead of
/// all, and arrives after 15 µs instead of 105 µs (three masters, three replicas, one machine).
///
/// The channels have connections of their own, because the driver takes some reports for the answer
/// to the oldest request: that a channel has moved away, and each of several channels that are
/// subscribed to at once. A grant must never be mistaken like this.
pub(super) struct Sharded {
    client: ClusterClient,
    /// The part that all names of this provider's channels have in common.
    name: String,
    waiters: Arc<Waiters>,
    /// Opened by the first waiter.
    nodes: OnceCell<Nodes>,
    /// The channels that are subscribed to; a superset of those in use.
    open: Mutex<HashSet<Arc<str>>>,
    /// The number of open channels at which idle ones are looked for. It is larger than the number
    /// that was in use the last time, so that looking costs each waiter little.
    enough: AtomicUsize,
    /// Held shared to subscribe and exclusively to unsubscribe, so that the two do not cross.
    subscribing: RwLock<()>,
}

impl Sharded {
    pub(super) fn new(client: &ClusterClient, name: String, waiters: &Arc<Waiters>) -> Self {
        let (nodes, open, subscribing) = Default::default();
        let (client, waiters) = (client.clone(), Arc::clone(waiters));
        Self { client, name, waiters, nodes, open, enough: AtomicUsize::new(IDLE), subscribing }
    }

    fn open(&self) -> MutexGuard<'_, HashSet<Arc<str>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn nodes(&self) -> Result<&Nodes> {
        let connect = || async {
            let listener = Arc::clone(&self.waiters) as Arc<dyn Listener>;
            Nodes::connect(&self.client, &self.closing(), Some(listener)).await
        };
        self.nodes.get_or_try_init(connect).await
    }

    /// Unsubscribes from channels without a listener, if there are many.
    async fn close_idle(&self, nodes: &Nodes) {
        if self.open().len() < self.enough.load(Ordering::Relaxed) {
            return;
        }
        let Ok(_alone) = self.subscribing.try_write() else { return };
        let used = self.waiters.shards();
        let idle: Vec<_> = self.open().difference(&used).cloned().collect();
        self.enough.store(2 * used.len() + IDLE, Ordering::Relaxed);
        for shard in idle {
            self.open().remove(&shard);
            nodes.unsubscribe(&shard).await;
        }
    }
}

#[async_trait]
impl Channel for Sharded {
    fn name(&self, keys: &Keys) -> String {
        format!(";{}", keys.channel(&self.name))
    }

    async fn subscribe(&self, owner: OwnerFingerprint, keys: &Keys) -> Result<Subscription> {
        let nodes = self.nodes().await?;
        self.close_idle(nodes).await;
        let _subscribing = self.subscribing.read().await;
        let shard: Arc<str> = keys.channel(&self.name).into();
        let subscription = self.waiters.add(owner, Some(Arc::clone(&shard)));
        self.open().insert(Arc::clone(&shard));
        nodes.subscribe(&shard).await?;
        Ok(subscription)
    }

    /// Does nothing, because waiters in a cluster poll for foreign releases.
    fn follow(&self, _: OwnerFingerprint, _: &Keys, _: Cmd) {}

    /// A frozen node keeps its channels open, and its successor does not notify their subscribers.
    fn closing(&self) -> Hook {
        let waiters = Arc::clone(&self.waiters);
        Arc::new(move || waiters.end())
    }
}
