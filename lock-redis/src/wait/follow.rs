//! Waiting for the release of a lock that another library holds: nobody but the server reports it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::Instant;

use lock_core::OwnerFingerprint;
use redis::Cmd;
use redis::aio::MultiplexedConnection;

use super::waiters::Waiters;
use crate::config::timeouts::Timeouts;
use crate::net::connection::Connection;

/// Which waiters want to hear of the release of a key.
pub(super) struct Followers {
    waiters: Arc<Waiters>,
    /// The keys that are followed over the present connection. Whoever is here and does not wait any
    /// more is removed whenever the server is asked or reports.
    keys: Mutex<BTreeMap<String, Following>>,
    /// What the present connection reports: changes of every key that begins with one of these. Empty
    /// as well while that is not known.
    prefixes: Mutex<Vec<String>>,
    /// Held while that changes, so that the last change is the one that stays.
    changing: tokio::sync::Mutex<()>,
    /// Over which keys are followed; it may be gone, as it hears of them through these.
    connection: Mutex<Weak<Connection>>,
    /// When the server last denied reports of changes.
    denied: Mutex<Option<Instant>>,
}

/// The waiters for one key, by their ids.
#[derive(Default)]
struct Following {
    waiters: HashMap<u64, Prepared>,
    /// Another library was seen to hold the key since the last change, so the next change is its
    /// release; otherwise it is one of our own.
    foreign: bool,
}

/// An acquisition that is ready to be sent at once.
///
/// The holder that has released the key may well ask for it again, and needs one round trip for that.
/// A waiter that is woken first and asks then comes too late every time. So its request leaves as soon
/// as the release is heard of. The waiter asks again when it is awake and finds itself granted, as by
/// the queue (law E2); if it has gone meanwhile, its undo frees the key. The request may also be late,
/// and arrive when its owner has acquired by itself and released: so the release of such an owner leaves
/// a tombstone in any case.
#[derive(Clone)]
struct Prepared {
    command: Cmd,
    connection: MultiplexedConnection,
}

impl Followers {
    pub(super) fn of(waiters: &Arc<Waiters>) -> Self {
        let (keys, prefixes, changing, connection, denied) = Default::default();
        let waiters = Arc::clone(waiters);
        Self { waiters, keys, prefixes, changing, connection, denied }
    }

    /// Has the server report changes of a key, for one waiter. Where the user lacks the right, the
    /// waiter only asks again.
    pub(super) fn follow(
        self: &Arc<Self>,
        connection: &Arc<Connection>,
        key: &str,
        owner: OwnerFingerprint,
        command: Cmd,
    ) {
        if locked(&self.denied).is_some_and(|when| when.elapsed() < Timeouts::DENIED) {
            return;
        }
        *locked(&self.connection) = Arc::downgrade(connection);
        let (followers, connection) = (Arc::clone(self), Arc::clone(connection));
        let key = key.to_owned();
        // In the background: the answer to the attempt is known, and must not wait for this.
        tokio::spawn(async move {
            let asked = async |opened: &mut MultiplexedConnection, _: Option<&str>| {
                let prepared = Prepared { command, connection: opened.clone() };
                followers.add(&key, owner.as_u64(), prepared);
                followers.track(opened).await?;
                redis::cmd("EXISTS").arg(&key).query_async::<bool>(opened).await
            };
            match connection.run(asked).await {
                // It has been released meanwhile.
                Ok(false) => followers.changed(&key),
                Err(error) if error.is_denied() => {
                    *locked(&followers.denied) = Some(Instant::now());
                }
                // Whatever went wrong, the waiter asks again.
                Ok(true) | Err(_) => {}
            }
        });
    }

    fn add(&self, key: &str, id: u64, prepared: Prepared) {
        let mut keys = locked(&self.keys);
        let following = keys.entry(key.to_owned()).or_default();
        following.waiters.insert(id, prepared);
        following.foreign = true;
    }

    /// Tells the server which keys are followed, if that has changed (`CLIENT TRACKING`).
    ///
    /// In its broadcasting mode, as that writes to followers before it answers whoever has released
    /// the key.
    async fn track(&self, connection: &mut MultiplexedConnection) -> redis::RedisResult<()> {
        let _one_at_a_time = self.changing.lock().await;
        let wanted = self.wanted();
        if *locked(&self.prefixes) == wanted {
            return Ok(());
        }
        // Unknown until both commands are answered.
        locked(&self.prefixes).clear();
        let mut request = redis::pipe();
        request.cmd("CLIENT").arg("TRACKING").arg("OFF").ignore();
        if !wanted.is_empty() {
            request.cmd("CLIENT").arg("TRACKING").arg("ON").arg("BCAST");
            for prefix in &wanted {
                request.arg("PREFIX").arg(prefix);
            }
            request.ignore();
        }
        request.query_async::<()>(connection).await?;
        *locked(&self.prefixes) = wanted;
        Ok(())
    }

    /// Forgets keys that nobody waits for, and returns the others; the server refuses prefixes of one
    /// another, so the shortest stand for all.
    fn wanted(&self) -> Vec<String> {
        let mut keys = locked(&self.keys);
        keys.retain(|_, following| {
            following.waiters.retain(|id, _| self.waiters.is_heard(*id));
            !following.waiters.is_empty()
        });
        let mut wanted: Vec<String> = Vec::new();
        for key in keys.keys() {
            // In their order, a prefix stands right before what begins with it.
            if !wanted.last().is_some_and(|shorter| key.starts_with(shorter)) {
                wanted.push(key.clone());
            }
        }
        wanted
    }

    /// Takes note that a key has changed: if another library held it, asks for it on behalf of one of
    /// the waiters, and wakes all of them.
    pub(super) fn changed(self: &Arc<Self>, key: &str) {
        let mut keys = locked(&self.keys);
        let Some(following) = keys.get_mut(key) else { return };
        following.waiters.retain(|id, _| self.waiters.is_heard(*id));
        let ids: Vec<_> = following.waiters.keys().copied().collect();
        let foreign = std::mem::take(&mut following.foreign);
        let prepared = following.waiters.values().next().cloned();
        drop(keys);
        match prepared {
            Some(prepared) if foreign => {
                prepared.send();
                ids.iter().for_each(|id| self.waiters.hint(*id));
            }
            Some(_) => {}
            None => self.stop(),
        }
    }

    /// Ends the reports that nobody needs any more, in the background.
    fn stop(self: &Arc<Self>) {
        let connection = locked(&self.connection).upgrade();
        if let (Some(connection), Ok(runtime)) = (connection, tokio::runtime::Handle::try_current())
        {
            let followers = Arc::clone(self);
            runtime.spawn(async move {
                let _ = connection.run(async |opened, _| followers.track(opened).await).await;
            });
        }
    }

    /// The connection has ended, and everything that was followed over it.
    pub(super) fn clear(&self) {
        locked(&self.keys).clear();
        locked(&self.prefixes).clear();
    }
}

impl Prepared {
    /// Hands the request to the driver at once, and leaves its answer alone.
    fn send(self) {
        let Self { command, mut connection } = self;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut sending = Box::pin(async move {
            let _ = connection.send_packed_command(&command).await;
        });
        // The first poll queues it; a task of its own would have to be scheduled before.
        let mut context = Context::from_waker(Waker::noop());
        if pin!(&mut sending).poll(&mut context).is_pending() {
            runtime.spawn(sending);
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Followers")
    }
}
