//! Waiting for the release of a lock that another library holds: nobody but the server reports it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use lock_core::OwnerFingerprint;
use redis::Cmd;
use redis::aio::MultiplexedConnection;

use crate::net::connection::Channel;
use crate::wait::news::News;

/// For how long nothing is asked of a server that has refused to report changes.
const REFUSED: Duration = Duration::from_secs(60);

/// Which waiters want to hear of the release of a key.
#[derive(Default)]
pub(crate) struct Followers {
    keys: Mutex<BTreeMap<String, Following>>,
    /// What the present connection is told of: every key that begins with one of these.
    prefixes: Mutex<Vec<String>>,
    /// Held while that changes, so that the last change is the one that stays.
    changing: tokio::sync::Mutex<()>,
    channel: Mutex<Weak<Channel>>,
    refused: Mutex<Option<Instant>>,
}

/// The waiters for one key, by their ids.
#[derive(Default)]
struct Following {
    waiters: HashMap<u64, Shot>,
    /// Another library was seen to hold the key since the last change.
    armed: bool,
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
struct Shot {
    command: Cmd,
    connection: MultiplexedConnection,
}

impl Followers {
    /// Has the server report changes of a key, for one waiter. Where the user lacks the right, the
    /// waiter only asks again.
    pub(crate) fn follow(
        news: &Arc<News>,
        channel: &Arc<Channel>,
        key: &str,
        owner: OwnerFingerprint,
        command: Cmd,
    ) {
        let followers = &news.followers;
        if locked(&followers.refused).is_some_and(|when| when.elapsed() < REFUSED) {
            return;
        }
        *locked(&followers.channel) = Arc::downgrade(channel);
        let (news, channel, key) = (Arc::clone(news), Arc::clone(channel), key.to_owned());
        // In the background: the answer to the attempt is known, and must not wait for this.
        tokio::spawn(async move {
            let asked = async |connection: &mut MultiplexedConnection, _: Option<&str>| {
                let shot = Shot { command, connection: connection.clone() };
                news.followers.arm(&key, owner.get(), shot);
                news.followers.track(&news, connection).await?;
                redis::cmd("EXISTS").arg(&key).query_async::<bool>(connection).await
            };
            match channel.run(asked).await {
                // It has been released meanwhile.
                Ok(false) => news.followers.changed(&news, &key),
                Err(error) if error.is_denied() => {
                    *locked(&news.followers.refused) = Some(Instant::now());
                }
                // Whatever went wrong, the waiter asks again.
                Ok(true) | Err(_) => {}
            }
        });
    }

    fn arm(&self, key: &str, id: u64, shot: Shot) {
        let mut keys = locked(&self.keys);
        let following = keys.entry(key.to_owned()).or_default();
        following.waiters.insert(id, shot);
        following.armed = true;
    }

    /// Tells the server which keys are followed, if that has changed (`CLIENT TRACKING`).
    ///
    /// In its broadcasting mode, as that writes to followers before it answers whoever has released
    /// the key.
    async fn track(
        &self,
        news: &News,
        connection: &mut MultiplexedConnection,
    ) -> redis::RedisResult<()> {
        let _one_at_a_time = self.changing.lock().await;
        let wanted = self.wanted(news);
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
    fn wanted(&self, news: &News) -> Vec<String> {
        let mut keys = locked(&self.keys);
        keys.retain(|_, following| {
            following.waiters.retain(|id, _| news.is_heard(*id));
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
    pub(crate) fn changed(&self, news: &Arc<News>, key: &str) {
        let mut keys = locked(&self.keys);
        let Some(following) = keys.get_mut(key) else { return };
        following.waiters.retain(|id, _| news.is_heard(*id));
        let ids: Vec<_> = following.waiters.keys().copied().collect();
        let armed = std::mem::take(&mut following.armed);
        let shot = following.waiters.values().next().cloned();
        drop(keys);
        match shot {
            Some(shot) if armed => {
                shot.fire();
                ids.iter().for_each(|id| news.hint(*id));
            }
            Some(_) => {}
            None => self.stop(news),
        }
    }

    /// Ends the reports that nobody needs any more, in the background.
    fn stop(&self, news: &Arc<News>) {
        let channel = locked(&self.channel).upgrade();
        if let (Some(channel), Ok(runtime)) = (channel, tokio::runtime::Handle::try_current()) {
            let news = Arc::clone(news);
            runtime.spawn(async move {
                let _ = channel
                    .run(async |connection, _| news.followers.track(&news, connection).await)
                    .await;
            });
        }
    }

    /// The connection has ended, and everything that was followed over it.
    pub(crate) fn clear(&self) {
        locked(&self.keys).clear();
        locked(&self.prefixes).clear();
    }
}

impl Shot {
    /// Hands the request to the driver at once, and leaves its answer alone.
    fn fire(self) {
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
