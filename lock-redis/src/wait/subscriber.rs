//! Subscribes for the waiters of one provider, and keeps their state.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lock_core::backend::{Claim, Subscription};
use lock_core::{Error, ErrorKind, OwnerFingerprint, OwnerToken, Result};
use redis::Cmd;
#[cfg(feature = "cluster")]
use redis::cluster::ClusterClient;

use super::channel::Channel;
#[cfg(feature = "cluster")]
use super::sharded::Sharded;
use super::shared::Shared;
use super::waiters::{Kind, Standing, Waiters};
use crate::config::timeouts::Timeouts;
use crate::keys::{Keys, Prefix};
use crate::net::endpoint::Endpoint;
use crate::net::listener::Hook;

/// Subscribes for the waiters of one provider.
pub(crate) struct Subscriber {
    /// The waiters, which are shared with the channel.
    waiters: Arc<Waiters>,
    channel: Box<dyn Channel>,
    /// When the server denied the subscription; `None` if the last failure was another one.
    denied: Mutex<Option<Instant>>,
}

impl Subscriber {
    /// Makes a subscriber for set-ups with one server at a time.
    pub(crate) fn new(endpoint: Endpoint, timeouts: Timeouts, prefix: &Prefix) -> Result<Self> {
        let waiters = Arc::default();
        let name = prefix.channel(&unique()?);
        let channel = Box::new(Shared::new(endpoint, timeouts, name, &waiters));
        Ok(Self { waiters, channel, denied: Mutex::default() })
    }

    /// Makes a subscriber for a cluster.
    #[cfg(feature = "cluster")]
    pub(crate) fn of_a_cluster(client: &ClusterClient) -> Result<Self> {
        let waiters = Arc::default();
        let channel = Box::new(Sharded::new(client, unique()?, &waiters));
        Ok(Self { waiters, channel, denied: Mutex::default() })
    }

    /// Returns a function that ends the subscription. Waiters then open another. It is called when
    /// a server was replaced: a frozen server keeps the subscription open, and its successor does
    /// not notify its subscribers.
    pub(crate) fn closing(&self) -> Hook {
        self.channel.closing()
    }

    /// Begins to listen for one owner.
    pub(crate) async fn subscribe(
        &self,
        owner: OwnerFingerprint,
        keys: &Keys,
    ) -> Result<Subscription> {
        if self.denied().is_some_and(|when| when.elapsed() < Timeouts::DENIED) {
            let message = "the server's ACL denied this user a subscription less than a minute ago";
            return Err(Error::new(ErrorKind::Denied, message));
        }
        let opened = self.channel.subscribe(owner, keys).await;
        if let Err(error) = &opened {
            *self.denied() = error.is_denied().then(Instant::now);
        }
        opened
    }

    /// Requests that the server reports the release of a lock that another library holds.
    pub(crate) fn follow(&self, owner: OwnerFingerprint, keys: &Keys, command: Cmd) {
        self.waiters.is_followed(owner);
        self.channel.follow(owner, keys, command);
    }

    /// Returns the entry of a waiter in the queue, which `queue.lua` describes.
    pub(crate) fn queue_entry(&self, claim: &Claim, kind: Kind, keys: &Keys) -> String {
        let owner = claim.owner_token();
        let kind = match kind {
            Kind::Queues => 'q',
            Kind::Listens => 'h',
        };
        let (id, ttl) = (owner.fingerprint().as_u64(), claim.ttl().as_millis());
        let channel = self.channel.name(keys);
        format!("{}{kind}{id:016x}{ttl}{channel}", owner.expose())
    }

    /// Returns the state of an owner; `None` if it never subscribed, or has released since.
    pub(crate) fn standing(&self, owner: OwnerFingerprint) -> Option<Standing> {
        self.waiters.standing(owner)
    }

    /// Records that an attempt of an owner takes a place in the queue. Returns the kind, if it
    /// takes one.
    pub(crate) fn takes_place(&self, owner: OwnerFingerprint, kind: Kind) -> Option<Kind> {
        self.waiters.takes_place(owner, kind)
    }

    /// Records that such an attempt was answered.
    pub(crate) fn is_answered(&self, owner: OwnerFingerprint) {
        self.waiters.is_answered(owner);
    }

    /// Forgets an owner that has released; `for_good` if a tombstone refuses its late requests.
    pub(crate) fn forget(&self, owner: OwnerFingerprint, for_good: bool) {
        self.waiters.remove(owner, for_good);
    }

    fn denied(&self) -> MutexGuard<'_, Option<Instant>> {
        self.denied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes a name that no other provider has.
fn unique() -> Result<String> {
    Ok(format!("{:016x}", OwnerToken::mint()?.fingerprint().as_u64()))
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscriber")
    }
}
