//! The waiters of one provider, and what the messages to them mean.

use std::collections::HashMap;
#[cfg(feature = "cluster")]
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lock_core::OwnerFingerprint;
use lock_core::backend::{Signal, SignalSender, Subscription};
use redis::{PushInfo, PushKind, Value};

use crate::net::listener::Listener;

/// How long an owner is remembered that neither listens nor has released, because a request of it
/// may still be on its way.
const REMEMBERED: Duration = Duration::from_secs(60);

/// The number of waiters below which there is no sweep, because it would cost more than it frees.
const SWEEP_FLOOR: usize = 256;

/// The owners of one provider that wait. All locks of one owner share its state here.
#[derive(Default)]
pub(crate) struct Waiters {
    /// By fingerprint. An owner is added when it subscribes, and removed when it has released.
    waiters: Mutex<HashMap<u64, Waiter>>,
    /// The number of waiters, so that callers can skip the mutex if there are none.
    count: AtomicUsize,
    /// The number of waiters at which the next sweep is due.
    sweep_at: AtomicUsize,
}

struct Waiter {
    /// Closed if the waiter is gone; `None` if its subscription was cut, so that it opens another.
    sender: Option<SignalSender>,
    /// Its sharded channel, in a cluster.
    shard: Option<Arc<str>>,
    /// How it may stand in the queue of the store, if an attempt of it took a place there.
    place: Option<Kind>,
    /// How many attempts that take a place have had no answer. A copy of one may take the place
    /// late.
    unanswered: u32,
    /// Whether a prepared request of it may be sent, or be on its way; see `follow.rs`.
    followed: bool,
    seen: Instant,
}

/// How an owner waits in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Listens,
    Queues,
}

/// The state of an owner, as far as this provider knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// How it may stand in the queue of the key.
    pub(crate) place: Option<Kind>,
    pub(crate) followed: bool,
}

impl Waiter {
    fn listens(&self) -> bool {
        self.sender.as_ref().is_some_and(|sender| !sender.is_closed())
    }
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to listen for an owner. An owner that has a place keeps it.
    pub(super) fn add(&self, owner: OwnerFingerprint, shard: Option<Arc<str>>) -> Subscription {
        let (sender, subscription) = Subscription::channel();
        let (sender, seen) = (Some(sender), Instant::now());
        let mut waiters = self.lock();
        if waiters.len() >= self.sweep_at.load(Ordering::Relaxed).max(SWEEP_FLOOR) {
            waiters.retain(|_, waiter| waiter.listens() || waiter.seen.elapsed() < REMEMBERED);
            self.sweep_at.store(2 * waiters.len(), Ordering::Relaxed);
        }
        let fresh =
            Waiter { sender: None, shard: None, place: None, unanswered: 0, followed: false, seen };
        let waiter = waiters.entry(owner.as_u64()).or_insert(fresh);
        (waiter.sender, waiter.shard, waiter.seen) = (sender, shard, seen);
        self.count.store(waiters.len(), Ordering::Release);
        subscription
    }

    /// Returns the state of an owner; `None` if it never subscribed, or has released since.
    pub(super) fn standing(&self, owner: OwnerFingerprint) -> Option<Standing> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let waiters = self.lock();
        let waiter = waiters.get(&owner.as_u64())?;
        Some(Standing { place: waiter.place, followed: waiter.followed })
    }

    /// Records that an attempt of an owner takes a place, before it is sent. Returns the kind of
    /// place. An owner that queues already goes on queueing. An owner without a subscription takes
    /// no place.
    pub(super) fn takes_place(&self, owner: OwnerFingerprint, kind: Kind) -> Option<Kind> {
        let mut waiters = self.lock();
        let waiter = waiters.get_mut(&owner.as_u64()).filter(|waiter| waiter.listens())?;
        let kind = if waiter.place == Some(Kind::Queues) { Kind::Queues } else { kind };
        (waiter.place, waiter.seen) = (Some(kind), Instant::now());
        waiter.unanswered = waiter.unanswered.saturating_add(1);
        Some(kind)
    }

    /// Records that such an attempt was answered.
    pub(super) fn is_answered(&self, owner: OwnerFingerprint) {
        if let Some(waiter) = self.lock().get_mut(&owner.as_u64()) {
            waiter.unanswered = waiter.unanswered.saturating_sub(1);
        }
    }

    /// Records that a prepared request of an owner may be sent at any time.
    pub(super) fn is_followed(&self, owner: OwnerFingerprint) {
        if let Some(waiter) = self.lock().get_mut(&owner.as_u64()) {
            (waiter.followed, waiter.seen) = (true, Instant::now());
        }
    }

    /// Forgets an owner that has released, unless a copy of an attempt may still take a place,
    /// which the next release has to give up. `for_good` says that the owner has a tombstone, so no
    /// copy can.
    pub(super) fn remove(&self, owner: OwnerFingerprint, for_good: bool) {
        if self.count.load(Ordering::Acquire) > 0 {
            let mut waiters = self.lock();
            let known = waiters.get(&owner.as_u64());
            if for_good || known.is_none_or(|waiter| waiter.unanswered == 0) {
                waiters.remove(&owner.as_u64());
            }
            self.count.store(waiters.len(), Ordering::Release);
        }
    }

    /// Whether a waiter's subscription is open.
    pub(super) fn is_heard(&self, id: u64) -> bool {
        self.lock().get(&id).is_some_and(Waiter::listens)
    }

    /// Returns the sharded channels that have a listener.
    #[cfg(feature = "cluster")]
    pub(super) fn shards(&self) -> HashSet<Arc<str>> {
        let waiters = self.lock();
        let listening = waiters.values().filter(|waiter| waiter.listens());
        listening.filter_map(|waiter| waiter.shard.clone()).collect()
    }

    /// Ends every subscription; waiters open another.
    pub(super) fn end(&self) {
        self.lock().values_mut().for_each(|waiter| waiter.sender = None);
    }

    /// Wakes a waiter.
    pub(super) fn hint(&self, id: u64) {
        self.send(id, Signal::Hint);
    }

    fn sender(&self, id: u64) -> Option<SignalSender> {
        self.lock().get(&id)?.sender.clone()
    }

    fn send(&self, id: u64, signal: Signal) {
        if let Some(sender) = self.sender(id) {
            sender.send(signal);
        }
    }

    /// Wakes a waiter later.
    fn hint_after(&self, id: u64, time: Duration) {
        let Some(sender) = self.sender(id) else { return };
        // The driver reports messages on a runtime.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(time).await;
                sender.send(Signal::Hint);
            });
        }
    }
}

impl Listener for Waiters {
    /// Takes a message: the waiter's id, a space, and what happened; see `queue.lua`.
    ///
    /// | text after the id | meaning |
    /// |---|---|
    /// | `granted` | the queue has granted the waiter the key |
    /// | `~` and a number | the key is free after that many ms |
    /// | anything else, or nothing | the key may be free |
    ///
    /// A message without an id is not from this crate and is ignored. A lost message does no harm.
    fn hear(&self, push: &PushInfo) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Message | PushKind::SMessage, [_, Value::BulkString(text)]) => {
                let text = String::from_utf8_lossy(text);
                let (id, what) = text.split_once(' ').unwrap_or((&text, ""));
                let Ok(id) = u64::from_str_radix(id, 16) else { return };
                if let Some(millis) = what.strip_prefix('~').and_then(|text| text.parse().ok()) {
                    return self.hint_after(id, Duration::from_millis(millis));
                }
                self.send(id, if what == "granted" { Signal::Granted } else { Signal::Hint });
            }
            // A waiter whose slot has moved to another node opens another subscription there.
            (PushKind::SUnsubscribe, [Value::BulkString(shard), ..]) => {
                let of_it = |waiter: &Waiter| {
                    waiter.shard.as_ref().is_some_and(|one| one.as_bytes() == shard.as_slice())
                };
                let mut waiters = self.lock();
                let cut = waiters.values_mut().filter(|waiter| of_it(waiter));
                cut.for_each(|waiter| waiter.sender = None);
            }
            (PushKind::Disconnection, _) => self.end(),
            _ => {}
        }
    }
}
