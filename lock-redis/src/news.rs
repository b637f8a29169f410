//! What the server tells waiters: one subscription a provider, however many keys and waiters.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lock_core::{
    Claim, FencingToken, OwnerFingerprint, OwnerToken, Result, Signal, Watch, WatchKind,
    WatchSender,
};
use redis::{PushInfo, PushKind, Value};

use crate::channel::{Channel, Source, Timeouts};
use crate::keys::Prefix;
use crate::origin::Origin;

/// For how long nothing is asked of a server that has refused the subscription.
const SULK: Duration = Duration::from_secs(60);

/// Lets waiters listen, over a connection that the first of them opens.
pub(crate) struct Newsroom {
    news: Arc<News>,
    channel: Channel,
    refused: Mutex<Option<Instant>>,
}

/// Passes what is heard on to the waiter that it concerns.
pub(crate) struct News {
    channel: String,
    waiters: Mutex<HashMap<u64, WatchSender>>,
}

impl Newsroom {
    pub(crate) fn new(origin: Origin, timeouts: Timeouts, prefix: &Prefix) -> Result<Self> {
        let name = OwnerToken::mint()?.fingerprint().get();
        let channel = prefix.channel(&format!("{name:016x}"));
        let news = Arc::new(News { channel, waiters: Mutex::default() });
        let source = Source::Subscriber { origin, timeouts, news: Arc::clone(&news) };
        Ok(Self { news, channel: Channel::closed(source), refused: Mutex::default() })
    }

    /// Begins to listen for one claim.
    pub(crate) async fn watch(&self, owner: OwnerFingerprint) -> Result<Option<Watch>> {
        if self.refused().is_some_and(|when| when.elapsed() < SULK) {
            return Ok(None);
        }
        if let Err(error) = self.channel.connect().await {
            *self.refused() = error.is_denied().then(Instant::now);
            return Err(error);
        }
        let (sender, watch) = Watch::channel();
        self.news.waiters().insert(owner.get(), sender);
        Ok(Some(watch))
    }

    /// How the scripts know a waiter in line: `grant.lua` takes it apart.
    pub(crate) fn in_line(&self, claim: &Claim, kind: WatchKind) -> String {
        let owner = claim.owner();
        let kind = match kind {
            WatchKind::Queue => 'q',
            WatchKind::Hints => 'h',
        };
        let (id, ttl) = (owner.fingerprint().get(), claim.ttl().as_millis());
        format!("{}{kind}{id:016x}{ttl}:{}", owner.expose(), self.news.channel)
    }

    /// Tells whether a waiter's watch is open.
    pub(crate) fn is_heard_by(&self, owner: OwnerFingerprint) -> bool {
        self.news.waiters().get(&owner.get()).is_some_and(|sender| !sender.is_closed())
    }

    pub(crate) fn forget(&self, owner: OwnerFingerprint) {
        self.news.waiters().remove(&owner.get());
    }

    fn refused(&self) -> MutexGuard<'_, Option<Instant>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl News {
    fn waiters(&self) -> MutexGuard<'_, HashMap<u64, WatchSender>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn channel(&self) -> &str {
        &self.channel
    }

    /// Takes a message: the waiter's id, and the fencing token if it has been granted the key. A
    /// message that makes no sense is none of ours, and a missing one does no harm.
    pub(crate) fn hear(&self, push: &PushInfo) {
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Message, [_, Value::BulkString(text)]) => {
                let text = String::from_utf8_lossy(text);
                let (id, token) = text.split_once(' ').unwrap_or((&text, ""));
                let Ok(id) = u64::from_str_radix(id, 16) else { return };
                let signal = match token.parse().ok().and_then(FencingToken::new) {
                    Some(token) => Signal::Granted { fencing: Some(token) },
                    None => Signal::Hint,
                };
                if let Some(waiter) = self.waiters().get(&id) {
                    waiter.send(signal);
                }
            }
            // Ends every watch; who still waits opens another.
            (PushKind::Disconnection, _) => self.waiters().clear(),
            _ => {}
        }
    }
}

impl fmt::Debug for Newsroom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Newsroom")
    }
}
