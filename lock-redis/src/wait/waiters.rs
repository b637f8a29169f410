//! The waiters of one provider, and what the messages to them mean.

use std::collections::HashMap;
#[cfg(feature = "cluster")]
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lock_core::{FencingToken, OwnerFingerprint, Signal, Watch, WatchSender};
use redis::{PushInfo, PushKind, Value};

use crate::net::listener::Listener;

/// Passes what is heard on to the waiter that it concerns.
#[derive(Default)]
pub(crate) struct Waiters {
    /// By the fingerprints of their owners. A waiter that is gone may still be here, with a closed
    /// sender; one that is missing opens another watch.
    waiters: Mutex<HashMap<u64, Waiter>>,
}

struct Waiter {
    sender: WatchSender,
    /// Its channel, if it is not everybody's.
    shard: Option<Arc<str>>,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Waiter>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, owner: OwnerFingerprint, shard: Option<Arc<str>>) -> Watch {
        let (sender, watch) = Watch::channel();
        self.lock().insert(owner.get(), Waiter { sender, shard });
        watch
    }

    pub(super) fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    /// Whether a waiter's watch is open.
    pub(super) fn is_heard(&self, id: u64) -> bool {
        self.lock().get(&id).is_some_and(|waiter| !waiter.sender.is_closed())
    }

    /// The channels that somebody listens to.
    #[cfg(feature = "cluster")]
    pub(super) fn shards(&self) -> HashSet<Arc<str>> {
        self.lock().values().filter_map(|waiter| waiter.shard.clone()).collect()
    }

    /// Ends every watch; whoever still waits opens another.
    pub(super) fn end(&self) {
        self.lock().clear();
    }

    /// Wakes a waiter.
    pub(super) fn hint(&self, id: u64) {
        self.send(id, Signal::Hint);
    }

    fn send(&self, id: u64, signal: Signal) {
        if let Some(waiter) = self.lock().get(&id) {
            waiter.sender.send(signal);
        }
    }

    /// Wakes a waiter later.
    fn hint_after(&self, id: u64, time: Duration) {
        let Some(sender) = self.lock().get(&id).map(|waiter| waiter.sender.clone()) else {
            return;
        };
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
    /// Takes a message: the waiter's id, and the fencing token if it has been granted the key, or after
    /// how many ms the key is free. A message that makes no sense is none of ours, and a missing one
    /// does no harm.
    fn hear(&self, push: &PushInfo) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Message | PushKind::SMessage, [_, Value::BulkString(text)]) => {
                let text = String::from_utf8_lossy(text);
                let (id, token) = text.split_once(' ').unwrap_or((&text, ""));
                let Ok(id) = u64::from_str_radix(id, 16) else { return };
                if let Some(millis) = token.strip_prefix('~').and_then(|text| text.parse().ok()) {
                    return self.hint_after(id, Duration::from_millis(millis));
                }
                let token = token.parse().ok().and_then(FencingToken::new);
                self.send(
                    id,
                    match token {
                        Some(token) => Signal::Granted { fencing: Some(token) },
                        None => Signal::Hint,
                    },
                );
            }
            // A waiter whose slot has moved to another node opens another watch there.
            (PushKind::SUnsubscribe, [Value::BulkString(shard), ..]) => {
                let of_it = |waiter: &Waiter| {
                    waiter.shard.as_ref().is_some_and(|one| one.as_bytes() == shard.as_slice())
                };
                self.lock().retain(|_, waiter| !of_it(waiter));
            }
            (PushKind::Disconnection, _) => self.end(),
            _ => {}
        }
    }
}
