use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lock_core::{
    Attempt, Claim, Error, ErrorKind, FencingToken, Handover, Holder, Lock, Metadata,
    OwnerFingerprint, OwnerToken, Release, Renewal, Result, Ttl, Watch, WatchKind,
};
use redis::Value;

use crate::keys::Keys;
use crate::link::{Lane, Links};
use crate::news::InLine;
use crate::scripts;

/// How long a fence outlives its lease. Any time does, as tokens start from the server's clock; a
/// day also rides out a clock that is set back by less.
const FENCE_OUTLIVES: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an owner that released without holding is refused (law U1): longer than any request
/// stays in a socket's buffers while its server is stopped or cut off.
const TOMBSTONE: Duration = Duration::from_secs(60);

pub(crate) struct RedisLock {
    pub(crate) links: Arc<Links>,
    pub(crate) claim: Claim,
    pub(crate) keys: Keys,
    /// The fencing token of the grant, once it is known; zero before.
    pub(crate) token: AtomicU64,
    /// Has had a watch, so that the scripts may know it as a waiter.
    pub(crate) watched: AtomicBool,
}

impl RedisLock {
    fn owner(&self) -> &str {
        self.claim.owner().expose()
    }

    /// How the scripts know this waiter in line; empty if it never was there.
    fn in_line(&self) -> Option<InLine> {
        let news = self.links.news().filter(|_| self.watched.load(Ordering::Relaxed))?;
        news.in_line(self.claim.owner())
    }

    /// Remembers the token of the grant, for a renewal that finds its counter deleted.
    fn note(&self, token: &Value) -> Result<FencingToken> {
        let token = fencing(token)?;
        self.token.store(token.get(), Ordering::Relaxed);
        Ok(token)
    }
}

#[async_trait]
impl Lock for RedisLock {
    fn claim(&self) -> &Claim {
        &self.claim
    }

    async fn try_acquire(&self) -> Result<Attempt> {
        let mut call = scripts::ACQUIRE.prepare_invoke();
        call.key(&self.keys.lock).key(&self.keys.fence);
        call.key(&self.keys.tombstone).key(&self.keys.line);
        call.arg(self.owner()).arg(self.claim.metadata().as_bytes());
        call.arg(self.claim.ttl().as_millis()).arg(millis(FENCE_OUTLIVES));
        let in_line = self.in_line().filter(|waiter| waiter.listens);
        call.arg(millis(Watch::CLAIM_WINDOW)).arg(in_line.unwrap_or_default().text);
        let answer = self.links.invoke(Lane::Acquire, &call).await?;
        match words(&answer)? {
            (b"granted", [token]) => Ok(Attempt::Granted { fencing: Some(self.note(token)?) }),
            (b"held", [Value::Int(left)]) => Ok(Attempt::Held { remaining: remaining(*left) }),
            (b"undone", []) => Ok(Attempt::Undone),
            (b"foreign", []) => Err(foreign()),
            (b"fence", [why]) => Err(bad_fence(why)),
            _ => Err(senseless(&answer)),
        }
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        let mut call = scripts::RENEW.prepare_invoke();
        call.key(&self.keys.lock).key(&self.keys.fence);
        call.arg(self.owner()).arg(ttl.as_millis()).arg(millis(FENCE_OUTLIVES));
        match self.token.load(Ordering::Relaxed) {
            0 => call.arg(""),
            token => call.arg(token),
        };
        let answer = self.links.invoke(Lane::Hold, &call).await?;
        match words(&answer)? {
            (b"renewed", [token]) => Ok(Renewal::Renewed { fencing: Some(self.note(token)?) }),
            (b"lost", []) => Ok(Renewal::Lost),
            (b"fence", [why]) => Err(bad_fence(why)),
            _ => Err(senseless(&answer)),
        }
    }

    async fn release(&self) -> Result<Release> {
        let mut call = scripts::RELEASE.prepare_invoke();
        call.key(&self.keys.lock).key(&self.keys.fence);
        call.key(&self.keys.tombstone).key(&self.keys.line);
        call.arg(self.owner()).arg(millis(TOMBSTONE)).arg(millis(FENCE_OUTLIVES));
        call.arg(millis(Watch::CLAIM_WINDOW)).arg(self.in_line().unwrap_or_default().text);
        match self.links.invoke(Lane::Hold, &call).await? {
            Value::Int(1) => Ok(Release::Released),
            Value::Int(0) => Ok(Release::NotHeld),
            answer => Err(senseless(&answer)),
        }
    }

    async fn inspect(&self) -> Result<Option<Holder>> {
        let mut call = scripts::INSPECT.prepare_invoke();
        call.key(&self.keys.lock).key(&self.keys.fence);
        let answer = self.links.invoke(Lane::Acquire, &call).await?;
        match words(&answer)? {
            (b"free", []) => Ok(None),
            (b"foreign", []) => Err(foreign()),
            (b"held", [Value::BulkString(value), Value::Int(left), token]) => {
                Ok(Some(holder(value, *left, token)))
            }
            _ => Err(senseless(&answer)),
        }
    }

    async fn hand_over(&self, next: &Claim) -> Result<Option<Handover>> {
        let mut call = scripts::HAND_OVER.prepare_invoke();
        call.key(&self.keys.lock).key(&self.keys.fence);
        call.key(&self.keys.tombstone).key(&self.keys.line);
        call.key(self.keys.tombstone_of(next.owner()));
        call.arg(self.owner()).arg(millis(TOMBSTONE)).arg(millis(FENCE_OUTLIVES));
        call.arg(millis(Watch::CLAIM_WINDOW));
        call.arg(next.owner().expose()).arg(next.metadata().as_bytes());
        call.arg(next.ttl().as_millis());
        let in_line = self.links.news().and_then(|news| news.in_line(next.owner()));
        call.arg(in_line.unwrap_or_default().text);
        let answer = self.links.invoke(Lane::Hold, &call).await?;
        match words(&answer)? {
            (b"granted", [token, Value::Int(others)]) => {
                let fencing = Some(fencing(token)?);
                Ok(Some(Handover::Granted { fencing, others: *others > 0 }))
            }
            (b"refused", []) => Ok(Some(Handover::Refused)),
            (b"lost", []) => Ok(Some(Handover::NotHeld)),
            _ => Err(senseless(&answer)),
        }
    }

    async fn watch(&self, kind: WatchKind) -> Result<Option<Watch>> {
        let Some(news) = self.links.news() else { return Ok(None) };
        let watch = news.watch(&self.claim, kind).await?;
        self.watched.store(watch.is_some(), Ordering::Relaxed);
        Ok(watch)
    }
}

impl Drop for RedisLock {
    fn drop(&mut self) {
        if let Some(news) = self.links.news()
            && self.watched.load(Ordering::Relaxed)
        {
            news.forget(self.claim.owner().fingerprint());
        }
    }
}

impl fmt::Debug for RedisLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisLock").field(&self.claim).finish()
    }
}

/// Describes the holder behind a stored value: ours is token and metadata, a foreign one anything.
fn holder(value: &[u8], left: i64, token: &Value) -> Holder {
    let ours = value.split_at_checked(OwnerToken::LEN).filter(|(owner, _)| {
        std::str::from_utf8(owner).is_ok_and(|owner| OwnerToken::parse(owner).is_ok())
    });
    let (owner, metadata, fencing) = match ours {
        Some((owner, metadata)) => (owner, metadata, fencing(token).ok()),
        None => (value, &[][..], None),
    };
    Holder::new(OwnerFingerprint::of(owner))
        .with_metadata(Metadata::from_stored(metadata))
        .with_remaining(remaining(left))
        .with_fencing(fencing)
}

/// Splits a script's answer into its first word and the rest.
fn words(answer: &Value) -> Result<(&[u8], &[Value])> {
    match answer {
        Value::Array(parts) => match parts.split_first() {
            Some((Value::BulkString(word), rest)) => Ok((word, rest)),
            _ => Err(senseless(answer)),
        },
        _ => Err(senseless(answer)),
    }
}

fn fencing(token: &Value) -> Result<FencingToken> {
    let number = match token {
        Value::BulkString(text) => std::str::from_utf8(text).ok().and_then(|t| t.parse().ok()),
        _ => None,
    };
    number.and_then(FencingToken::new).ok_or_else(|| senseless(token))
}

fn remaining(left: i64) -> Option<Duration> {
    u64::try_from(left).ok().map(Duration::from_millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn foreign() -> Error {
    Error::new(
        ErrorKind::Foreign,
        "the key holds data that is no lock and never expires; remove it or choose another prefix",
    )
}

fn bad_fence(why: &Value) -> Error {
    let why = match why {
        Value::BulkString(text) => String::from_utf8_lossy(text),
        _ => "unknown".into(),
    };
    Error::new(ErrorKind::Corrupt, format!("the key's fencing counter is unusable: {why}"))
}

fn senseless(answer: &Value) -> Error {
    let shape = match answer {
        Value::Nil => "nil",
        Value::Int(_) => "an integer",
        Value::Array(_) => "an array",
        _ => "something else",
    };
    let message = format!("the server's answer makes no sense: {shape}");
    Error::new(ErrorKind::Corrupt, message).with_effect(lock_core::Effect::Unknown)
}
