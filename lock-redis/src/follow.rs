//! Waiting for the release of a lock that another library holds: nobody but the server reports it.

use std::collections::HashMap;
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use lock_core::OwnerFingerprint;
use redis::Cmd;
use redis::aio::MultiplexedConnection;

use crate::channel::Channel;
use crate::news::News;

/// For how long nothing is asked of a server that has refused to report changes.
const REFUSED: Duration = Duration::from_secs(60);

/// Which waiters want to hear of the next change of a key.
#[derive(Default)]
pub(crate) struct Followers {
    keys: Mutex<HashMap<Vec<u8>, HashMap<u64, Shot>>>,
    refused: Mutex<Option<Instant>>,
}

/// An acquisition that is ready to be sent at once.
///
/// The holder that has released the key may well ask for it again, and needs one round trip for that.
/// A waiter that is woken first and asks then comes too late every time. So its request leaves as soon
/// as the release is heard of. The waiter asks again when it is awake and finds itself granted, as by
/// the queue (law E2); if it has gone meanwhile, its undo frees the key.
struct Shot {
    command: Cmd,
    connection: MultiplexedConnection,
}

impl Followers {
    /// Has the server report the next change of a key (`CLIENT TRACKING`), for one waiter. Where the
    /// user lacks the right, the waiter only asks again.
    pub(crate) fn follow(
        news: &Arc<News>,
        channel: &Arc<Channel>,
        key: &str,
        owner: OwnerFingerprint,
        command: Cmd,
    ) {
        let refused = locked(&news.followers.refused).is_some_and(|when| when.elapsed() < REFUSED);
        if refused {
            return;
        }
        let (news, channel, key) = (Arc::clone(news), Arc::clone(channel), key.to_owned());
        // In the background: the answer to the attempt is known, and must not wait for this.
        tokio::spawn(async move {
            let mut request = redis::pipe();
            request.cmd("CLIENT").arg("TRACKING").arg("ON").ignore().cmd("EXISTS").arg(&key);
            let tracked = async |connection: &mut MultiplexedConnection, _: Option<&str>| {
                let shot = Shot { command, connection: connection.clone() };
                news.followers.add(&news, &key, owner.get(), shot);
                request.query_async::<(bool,)>(connection).await
            };
            match channel.run(tracked).await {
                // It has been released meanwhile.
                Ok((false,)) => news.followers.changed(&news, key.as_bytes()),
                Err(error) if error.is_denied() => {
                    *locked(&news.followers.refused) = Some(Instant::now());
                }
                // Whatever went wrong, the waiter asks again.
                Ok(_) | Err(_) => {}
            }
        });
    }

    fn add(&self, news: &News, key: &str, id: u64, shot: Shot) {
        let mut keys = locked(&self.keys);
        let followers = keys.entry(key.as_bytes().to_vec()).or_default();
        // A key that never changes must not gather waiters that have gone.
        followers.retain(|id, _| news.is_heard(*id));
        followers.insert(id, shot);
    }

    /// Asks for a key that has changed on behalf of one of those who wait, and wakes all of them.
    pub(crate) fn changed(&self, news: &News, key: &[u8]) {
        let mut followers = locked(&self.keys).remove(key).unwrap_or_default();
        followers.retain(|id, _| news.is_heard(*id));
        let ids: Vec<_> = followers.keys().copied().collect();
        if let Some(shot) = followers.into_values().next() {
            shot.fire();
        }
        ids.iter().for_each(|id| news.hint(*id));
    }

    pub(crate) fn clear(&self) {
        locked(&self.keys).clear();
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

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Followers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Followers")
    }
}
