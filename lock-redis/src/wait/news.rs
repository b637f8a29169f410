//! What the server tells waiters.

use std::collections::HashMap;
#[cfg(feature = "cluster")]
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lock_core::{
    Claim, FencingToken, OwnerFingerprint, OwnerToken, Result, Signal, Watch, WatchKind,
    WatchSender,
};
use redis::{Cmd, PushInfo, PushKind, Value};

use crate::config::timeouts::Timeouts;
use crate::keys::{Keys, Prefix};
#[cfg(feature = "cluster")]
use crate::net::cluster::Shards;
use crate::net::connection::{Channel, Source};
use crate::net::endpoint::Origin;
use crate::wait::follow::Followers;

/// For how long nothing is asked of a server that has refused the subscription.
const SULK: Duration = Duration::from_secs(60);

/// Lets waiters listen.
pub(crate) struct Newsroom {
    news: Arc<News>,
    wire: Wire,
    refused: Mutex<Option<Instant>>,
}

/// How news come in.
enum Wire {
    /// One subscription for all keys, over a connection that the first waiter opens.
    Channel(Arc<Channel>),
    /// One for each key that is waited for, over the connections to the cluster.
    #[cfg(feature = "cluster")]
    Shards(Box<Shards>),
}

/// Passes what is heard on to the waiter that it concerns.
pub(crate) struct News {
    /// What this provider's channels are called.
    name: String,
    waiters: Mutex<HashMap<u64, Waiter>>,
    pub(crate) followers: Followers,
}

struct Waiter {
    sender: WatchSender,
    /// Its channel, if it is not everybody's.
    shard: Option<Arc<str>>,
}

impl Newsroom {
    pub(crate) fn new(origin: Origin, timeouts: Timeouts, prefix: &Prefix) -> Result<Self> {
        let news = News::named(|name| prefix.channel(name))?;
        let source = Source::Subscriber { origin, timeouts, news: Arc::clone(&news) };
        let wire = Wire::Channel(Arc::new(Channel::closed(source)));
        Ok(Self::over(wire, news))
    }

    #[cfg(feature = "cluster")]
    pub(crate) fn of_a_cluster(news: Arc<News>, shards: Shards) -> Self {
        Self::over(Wire::Shards(Box::new(shards)), news)
    }

    fn over(wire: Wire, news: Arc<News>) -> Self {
        Self { news, wire, refused: Mutex::default() }
    }

    /// Returns what ends the subscription; who still waits opens another. A frozen server keeps it open,
    /// and its successor tells nobody.
    pub(crate) fn hanging_up(&self) -> Arc<dyn Fn() + Send + Sync> {
        let news = Arc::clone(&self.news);
        match &self.wire {
            Wire::Channel(channel) => {
                let discard = channel.discarding();
                Arc::new(move || {
                    discard();
                    news.end();
                })
            }
            #[cfg(feature = "cluster")]
            Wire::Shards(_) => Arc::new(move || news.end()),
        }
    }

    /// Begins to listen for one claim.
    pub(crate) async fn watch(
        &self,
        owner: OwnerFingerprint,
        keys: &Keys,
    ) -> Result<Option<Watch>> {
        if self.refused().is_some_and(|when| when.elapsed() < SULK) {
            return Ok(None);
        }
        let shard = self.shard(keys);
        let opened = match &self.wire {
            Wire::Channel(channel) => channel.connect().await.map(|()| self.news.add(owner, shard)),
            #[cfg(feature = "cluster")]
            Wire::Shards(shards) => shards.watch(&self.news, owner, shard).await,
        };
        if let Err(error) = &opened {
            *self.refused() = error.is_denied().then(Instant::now);
        }
        opened.map(Some)
    }

    /// Has the server report the release of a lock that another library holds. In a cluster waiters only
    /// ask again.
    pub(crate) fn follow(&self, owner: OwnerFingerprint, keys: &Keys, command: Cmd) {
        match &self.wire {
            Wire::Channel(channel) => {
                Followers::follow(&self.news, channel, keys.lock(), owner, command);
            }
            #[cfg(feature = "cluster")]
            Wire::Shards(_) => {}
        }
    }

    /// How the scripts know a waiter in line: `line.lua` takes it apart.
    pub(crate) fn in_line(&self, claim: &Claim, kind: WatchKind, keys: &Keys) -> String {
        let owner = claim.owner();
        let kind = match kind {
            WatchKind::Queue => 'q',
            WatchKind::Hints => 'h',
        };
        let (id, ttl) = (owner.fingerprint().get(), claim.ttl().as_millis());
        let channel = match self.shard(keys) {
            None => format!(":{}", self.news.name),
            Some(shard) => format!(";{shard}"),
        };
        format!("{}{kind}{id:016x}{ttl}{channel}", owner.expose())
    }

    /// Names the channel of those who wait for one lock, where each has its own.
    #[cfg_attr(not(feature = "cluster"), expect(unused_variables, reason = "only a cluster does"))]
    fn shard(&self, keys: &Keys) -> Option<Arc<str>> {
        match &self.wire {
            Wire::Channel(_) => None,
            #[cfg(feature = "cluster")]
            Wire::Shards(_) => Some(keys.channel(&self.news.name).into()),
        }
    }

    /// Tells whether a waiter's watch is open.
    pub(crate) fn is_heard_by(&self, owner: OwnerFingerprint) -> bool {
        self.news.is_heard(owner.get())
    }

    pub(crate) fn forget(&self, owner: OwnerFingerprint) {
        self.news.waiters().remove(&owner.get());
    }

    fn refused(&self) -> MutexGuard<'_, Option<Instant>> {
        locked(&self.refused)
    }
}

impl News {
    /// Makes one with a name of its own.
    pub(crate) fn named(name: impl FnOnce(&str) -> String) -> Result<Arc<Self>> {
        let unique = OwnerToken::mint()?.fingerprint().get();
        let name = name(&format!("{unique:016x}"));
        let (waiters, followers) = Default::default();
        Ok(Arc::new(Self { name, waiters, followers }))
    }

    fn waiters(&self) -> MutexGuard<'_, HashMap<u64, Waiter>> {
        locked(&self.waiters)
    }

    /// Whether a waiter's watch is open.
    pub(crate) fn is_heard(&self, id: u64) -> bool {
        self.waiters().get(&id).is_some_and(|waiter| !waiter.sender.is_closed())
    }

    /// Wakes a waiter.
    pub(crate) fn hint(&self, id: u64) {
        if let Some(waiter) = self.waiters().get(&id) {
            waiter.sender.send(Signal::Hint);
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn add(&self, owner: OwnerFingerprint, shard: Option<Arc<str>>) -> Watch {
        let (sender, watch) = Watch::channel();
        self.waiters().insert(owner.get(), Waiter { sender, shard });
        watch
    }

    /// The channels that somebody listens to.
    #[cfg(feature = "cluster")]
    pub(crate) fn shards(&self) -> HashSet<Arc<str>> {
        self.waiters().values().filter_map(|waiter| waiter.shard.clone()).collect()
    }

    /// Ends every watch; who still waits opens another.
    pub(crate) fn end(&self) {
        self.waiters().clear();
        self.followers.clear();
    }

    /// Takes a message: the waiter's id, and the fencing token if it has been granted the key, or after
    /// how many ms the key is free. A message that makes no sense is none of ours, and a missing one
    /// does no harm.
    pub(crate) fn hear(self: &Arc<Self>, push: &PushInfo) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Message | PushKind::SMessage, [_, Value::BulkString(text)]) => {
                let text = String::from_utf8_lossy(text);
                let (id, token) = text.split_once(' ').unwrap_or((&text, ""));
                let Ok(id) = u64::from_str_radix(id, 16) else { return };
                if let Some(millis) = token.strip_prefix('~').and_then(|text| text.parse().ok()) {
                    return self.hint_after(id, Duration::from_millis(millis));
                }
                let signal = match token.parse().ok().and_then(FencingToken::new) {
                    Some(token) => Signal::Granted { fencing: Some(token) },
                    None => Signal::Hint,
                };
                if let Some(waiter) = self.waiters().get(&id) {
                    waiter.sender.send(signal);
                }
            }
            // Whose slot has moved to another node opens another watch there.
            (PushKind::SUnsubscribe, [Value::BulkString(shard), ..]) => {
                let of_it = |waiter: &Waiter| {
                    waiter.shard.as_ref().is_some_and(|one| one.as_bytes() == shard.as_slice())
                };
                self.waiters().retain(|_, waiter| !of_it(waiter));
            }
            (PushKind::Invalidate, [Value::Array(keys)]) => {
                for key in keys {
                    if let Value::BulkString(key) = key {
                        self.followers.changed(self, &String::from_utf8_lossy(key));
                    }
                }
            }
            (PushKind::Disconnection, _) => self.end(),
            _ => {}
        }
    }
}

impl News {
    /// Hints to a waiter later.
    fn hint_after(&self, id: u64, time: Duration) {
        let Some(sender) = self.waiters().get(&id).map(|waiter| waiter.sender.clone()) else {
            return;
        };
        // The driver hears messages on a runtime.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                tokio::time::sleep(time).await;
                sender.send(Signal::Hint);
            });
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Newsroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Newsroom")
    }
}
