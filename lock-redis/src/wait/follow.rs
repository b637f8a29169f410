//! Waiting for the release of a lock that another library holds, which only the server reports.

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

/// The waiters that need to know of the release of a key by another library.
pub(super) struct Followers {
    waiters: Arc<Waiters>,
    /// The keys that are followed over the present connection. Owners that no longer wait are
    /// removed with the next request or report.
    keys: Mutex<BTreeMap<String, Following>>,
    /// The present connection reports changes of every key that begins with one of these. Also
    /// empty while that is not known.
    prefixes: Mutex<Vec<String>>,
    /// Held while the prefixes change, so that the last change wins.
    changing: tokio::sync::Mutex<()>,
    /// The connection over which keys are followed. It is weak, because it owns these followers as
    /// its listener.
    connection: Mutex<Weak<Connection>>,
    /// When the server last denied tracking.
    denied: Mutex<Option<Instant>>,
}

/// The waiters for one key, by their ids.
#[derive(Default)]
struct Following {
    waiters: HashMap<u64, Prepared>,
    /// Whether another library was seen to hold the key since the last change. If so, the next
    /// change is its release; otherwise the next change is our own.
    foreign: bool,
}

/// An acquisition that is ready to be sent at once.
///
/// A holder that released the key can ask for it again within one round trip. A waiter that is
/// woken first, and asks then, always comes too late. So its request leaves as soon as the release
/// is reported. The woken waiter asks again and finds that it holds the key, as after a grant by
/// the queue (law E2). If the waiter has gone, its undo frees the key.
///
/// The request may also be late, and arrive after its owner has acquired by itself and released. So
/// the release of such an owner always leaves a tombstone.
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

    /// Requests that the server reports changes of a key, for one waiter. If the user lacks the
    /// permission, the waiter polls.
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
        // In the background, because the answer to the attempt must not wait for this.
        tokio::spawn(async move {
            let asked = async |opened: &mut MultiplexedConnection, _: Option<&str>| {
                let prepared = Prepared { command, connection: opened.clone() };
                followers.add(&key, owner.as_u64(), prepared);
                followers.track(opened).await?;
                redis::cmd("EXISTS").arg(&key).query_async::<bool>(opened).await
            };
            match connection.run(asked).await {
                // It was released before it was tracked.
                Ok(false) => followers.changed(&key),
                Err(error) if error.is_denied() => {
                    *locked(&followers.denied) = Some(Instant::now());
                }
                // After any other error, the waiter polls.
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

    /// Sends the server the keys that are followed, if they have changed (`CLIENT TRACKING`).
    ///
    /// It uses the broadcasting mode, because the server then notifies followers before it answers
    /// the client that released the key.
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

    /// Forgets keys that nobody waits for, and returns the prefixes of the others. The server
    /// refuses a prefix of another prefix, so a key is left out if another key is a prefix of it.
    fn wanted(&self) -> Vec<String> {
        let mut keys = locked(&self.keys);
        keys.retain(|_, following| {
            following.waiters.retain(|id, _| self.waiters.is_heard(*id));
            !following.waiters.is_empty()
        });
        let mut wanted: Vec<String> = Vec::new();
        for key in keys.keys() {
            // The keys are sorted, so a prefix comes right before the keys that begin with it.
            if !wanted.last().is_some_and(|shorter| key.starts_with(shorter)) {
                wanted.push(key.clone());
            }
        }
        wanted
    }

    /// Handles the change of a key. If another library held it, requests it on behalf of one
    /// waiter, and wakes all waiters.
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

    /// Ends the reports that nobody needs, in the background.
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

    /// Forgets everything that was followed over a connection that has ended.
    pub(super) fn clear(&self) {
        locked(&self.keys).clear();
        locked(&self.prefixes).clear();
    }
}

impl Prepared {
    /// Passes the request to the driver at once, and ignores the answer.
    fn send(self) {
        let Self { command, mut connection } = self;
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let mut sending = Box::pin(async move {
            let _ = connection.send_packed_command(&command).await;
        });
        // The first poll sends it to the driver. A new task would have to be scheduled first.
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
