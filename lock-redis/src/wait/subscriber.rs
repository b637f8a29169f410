//! Lets waiters listen for what the server reports.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lock_core::{Claim, OwnerFingerprint, OwnerToken, Result, Watch, WatchKind};
use redis::Cmd;
#[cfg(feature = "cluster")]
use redis::cluster::ClusterClient;

#[cfg(feature = "cluster")]
use super::sharded::Sharded;
use super::shared::Shared;
use super::subscription::Subscription;
use super::waiters::Waiters;
use crate::config::timeouts::Timeouts;
use crate::keys::{Keys, Prefix};
use crate::net::endpoint::Endpoint;
use crate::net::listener::Hook;

/// Subscribes for the waiters of one provider.
pub(crate) struct Subscriber {
    /// Those whom the subscription wakes; it shares them.
    waiters: Arc<Waiters>,
    subscription: Box<dyn Subscription>,
    /// When the server last denied the subscription; none if the last failure was another one.
    denied: Mutex<Option<Instant>>,
}

impl Subscriber {
    /// Subscribes at one server at a time.
    pub(crate) fn new(endpoint: Endpoint, timeouts: Timeouts, prefix: &Prefix) -> Result<Self> {
        let waiters = Arc::default();
        let channel = prefix.channel(&unique()?);
        let subscription = Box::new(Shared::new(endpoint, timeouts, channel, &waiters));
        Ok(Self { waiters, subscription, denied: Mutex::default() })
    }

    /// Subscribes at the nodes of a cluster.
    #[cfg(feature = "cluster")]
    pub(crate) fn of_a_cluster(client: &ClusterClient) -> Result<Self> {
        let waiters = Arc::default();
        let subscription = Box::new(Sharded::new(client, unique()?, &waiters));
        Ok(Self { waiters, subscription, denied: Mutex::default() })
    }

    /// Returns what ends the subscription; whoever still waits opens another. A frozen server keeps it
    /// open, and its successor tells nobody.
    pub(crate) fn hanging_up(&self) -> Hook {
        self.subscription.hanging_up()
    }

    /// Begins to listen for one claim.
    pub(crate) async fn watch(
        &self,
        owner: OwnerFingerprint,
        keys: &Keys,
    ) -> Result<Option<Watch>> {
        if self.denied().is_some_and(|when| when.elapsed() < Timeouts::DENIED) {
            return Ok(None);
        }
        let opened = self.subscription.watch(owner, keys).await;
        if let Err(error) = &opened {
            *self.denied() = error.is_denied().then(Instant::now);
        }
        opened.map(Some)
    }

    /// Has the server report the release of a lock that another library holds.
    pub(crate) fn follow(&self, owner: OwnerFingerprint, keys: &Keys, command: Cmd) {
        self.subscription.follow(owner, keys, command);
    }

    /// How the scripts know a waiter in line: `line.lua` takes it apart.
    pub(crate) fn in_line(&self, claim: &Claim, kind: WatchKind, keys: &Keys) -> String {
        let owner = claim.owner();
        let kind = match kind {
            WatchKind::Queue => 'q',
            WatchKind::Hints => 'h',
        };
        let (id, ttl) = (owner.fingerprint().get(), claim.ttl().as_millis());
        let channel = self.subscription.channel(keys);
        format!("{}{kind}{id:016x}{ttl}{channel}", owner.expose())
    }

    /// Whether a waiter's watch is open.
    pub(crate) fn is_heard_by(&self, owner: OwnerFingerprint) -> bool {
        self.waiters.is_heard(owner.get())
    }

    pub(crate) fn forget(&self, owner: OwnerFingerprint) {
        self.waiters.remove(owner.get());
    }

    fn denied(&self) -> MutexGuard<'_, Option<Instant>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a name that no other provider has.
fn unique() -> Result<String> {
    Ok(format!("{:016x}", OwnerToken::mint()?.fingerprint().get()))
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscriber")
    }
}
