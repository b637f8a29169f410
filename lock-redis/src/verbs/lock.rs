//! The verbs of one lock in Redis.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lock_core::{
    Attempt, Claim, Error, ErrorKind, FencingToken, Handover, Holder, Lock, Metadata,
    OwnerFingerprint, OwnerToken, Release, Renewal, Result, Ttl, Watch, WatchKind,
};
use redis::Value;

use super::scripts::Scripts;
use crate::keys::{Keys, Prefix};
use crate::net::call::Call;
use crate::net::links::{Lane, Links};
use crate::wait::subscriber::Subscriber;

/// What the locks of one provider share.
pub(crate) struct Store {
    pub(crate) links: Links,
    /// Lets waiters listen; not with a pool, whose connections cannot.
    pub(crate) subscriber: Option<Subscriber>,
    pub(crate) scripts: Scripts,
    pub(crate) prefix: Prefix,
    /// The mark of a node of a quorum, and how long it is left out without it.
    pub(crate) settle: Option<(String, Ttl)>,
}

impl Store {
    fn subscriber(&self) -> Option<&Subscriber> {
        self.subscriber.as_ref()
    }
}

pub(crate) struct RedisLock {
    store: Arc<Store>,
    claim: Claim,
    /// Kept only where making them takes long.
    keys: Option<Box<Keys>>,
    /// The fencing token of the grant, once it is known; zero before.
    token: AtomicU64,
    /// The kind of its watch, so that the scripts may know it as a waiter.
    watched: OnceLock<WatchKind>,
    /// A request of it may be sent, or be on its way, without anybody who waits for its answer.
    followed: AtomicBool,
}

impl RedisLock {
    pub(crate) fn new(store: Arc<Store>, claim: Claim) -> Self {
        let keys = Keys::that_take_long(&store.prefix, claim.key(), claim.owner());
        let keys = keys.map(Box::new);
        let (token, watched, followed) = Default::default();
        Self { store, claim, keys, token, watched, followed }
    }

    fn keys(&self) -> Cow<'_, Keys> {
        match &self.keys {
            Some(keys) => Cow::Borrowed(keys),
            None => Cow::Owned(Keys::new(&self.store.prefix, self.claim.key(), self.claim.owner())),
        }
    }

    fn owner(&self) -> &str {
        self.claim.owner().expose()
    }

    /// How the scripts know this waiter in line, and whether it listens; `None` if it never did.
    fn in_line(&self, keys: &Keys) -> Option<(String, bool)> {
        let (news, kind) = self.store.subscriber().zip(self.watched.get())?;
        let listens = news.is_heard_by(self.claim.owner().fingerprint());
        Some((news.in_line(&self.claim, *kind, keys), listens))
    }

    /// Makes the call that asks for the key, and says whether its waiter listens.
    fn acquisition(&self, keys: &Keys) -> (Call<'_>, bool) {
        let [lock, fence, tombstone, line] = keys.of_a_grant();
        let mut call = match &self.store.settle {
            None => Call::new(&self.store.scripts.acquire, [lock, fence, tombstone, line]),
            Some((mark, _)) => {
                Call::new(&self.store.scripts.acquire, [lock, fence, tombstone, line, mark])
            }
        };
        let mut listens = false;
        let floor = self.claim.fencing_floor().map_or(0, FencingToken::get);
        call.arg(value(&self.claim)).arg(self.claim.ttl().as_millis()).arg(floor);
        if let Some((_, time)) = &self.store.settle {
            call.arg(time.as_millis()).name_process();
        } else if let Some((text, heard)) = self.in_line(keys) {
            listens = heard;
            call.arg(text).arg(u8::from(heard));
        }
        (call, listens)
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
        let keys = self.keys();
        let (call, listens) = self.acquisition(&keys);
        let (answer, backed) = self.store.links.grant(Lane::Acquire, call).await?;
        match &answer {
            Value::BulkString(_) => {
                let fencing = Some(self.note(&answer)?);
                backed.map(|()| Attempt::Granted { fencing })
            }
            Value::Int(left) => Ok(Attempt::Held { remaining: remaining(*left) }),
            _ => match words(&answer)? {
                (b"contested", [Value::Int(left), Value::Int(foreign)]) => {
                    // Data of other types may be changed at any time by whoever uses it.
                    let (foreign, is_text) = (*foreign != 0, *foreign == 1);
                    if let Some(news) = self.store.subscriber()
                        && is_text
                        && listens
                    {
                        self.followed.store(true, Ordering::Relaxed);
                        let command = self.acquisition(&keys).0.command();
                        news.follow(self.claim.owner().fingerprint(), &keys, command);
                    }
                    Ok(Attempt::Contested { remaining: remaining(*left), foreign })
                }
                (b"undone", []) => Ok(Attempt::Undone),
                (b"foreign", []) => Err(foreign()),
                (b"fence", [why]) => Err(bad_fence(why)),
                (b"settling", [Value::Int(left)]) => Err(settling(*left)),
                _ => Err(senseless(&answer)),
            },
        }
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        let keys = self.keys();
        let mut call = Call::new(&self.store.scripts.renew, [keys.lock(), keys.fence()]);
        call.arg(self.owner()).arg(ttl.as_millis());
        match self.token.load(Ordering::Relaxed) {
            0 => {}
            token => drop(call.arg(token)),
        }
        let (answer, backed) = self.store.links.grant(Lane::Hold, call).await?;
        match &answer {
            Value::BulkString(_) => {
                let fencing = Some(self.note(&answer)?);
                backed.map(|()| Renewal::Renewed { fencing })
            }
            _ => match words(&answer)? {
                (b"lost", []) => Ok(Renewal::Lost),
                (b"fence", [why]) => Err(bad_fence(why)),
                _ => Err(senseless(&answer)),
            },
        }
    }

    async fn release(&self) -> Result<Release> {
        let keys = self.keys();
        let mut call = Call::new(&self.store.scripts.release, keys.of_a_grant());
        call.arg(self.owner());
        if let Some((text, _)) = self.in_line(&keys) {
            call.arg(text);
            if self.followed.load(Ordering::Relaxed) {
                call.arg(1);
            }
        }
        match self.store.links.invoke(Lane::Release, call).await? {
            Value::Int(1) => Ok(Release::Released),
            Value::Int(2) => Ok(Release::Contested),
            Value::Int(0) => Ok(Release::NotHeld),
            answer => Err(senseless(&answer)),
        }
    }

    async fn inspect(&self) -> Result<Option<Holder>> {
        let keys = self.keys();
        let call = Call::new(&self.store.scripts.inspect, [keys.lock(), keys.fence()]);
        let answer = self.store.links.invoke(Lane::Acquire, call).await?;
        match words(&answer)? {
            (b"free", []) => Ok(None),
            (b"foreign", []) => Err(foreign()),
            (b"other", [Value::Int(left)]) => {
                Ok(Some(Holder::foreign(b"").with_remaining(remaining(*left))))
            }
            (b"held", [Value::BulkString(value), Value::Int(left), token]) => {
                Ok(Some(holder(value, *left, token)))
            }
            _ => Err(senseless(&answer)),
        }
    }

    async fn raise(&self, to: FencingToken) -> Result<Option<FencingToken>> {
        if to > FencingToken::LARGEST {
            let message = format!("{to} is no token to raise to; the largest is 2^53 - 1");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let keys = self.keys();
        let mut call = Call::new(&self.store.scripts.raise, [keys.lock(), keys.fence()]);
        call.arg(self.owner()).arg(to.get());
        let answer = self.store.links.invoke(Lane::Acquire, call).await?;
        match &answer {
            Value::BulkString(_) => Ok(Some(self.note(&answer)?)),
            _ => match words(&answer)? {
                (b"lost", []) => Ok(None),
                (b"fence", [why]) => Err(bad_fence(why)),
                _ => Err(senseless(&answer)),
            },
        }
    }

    async fn hand_over(&self, next: &Claim) -> Result<Option<Handover>> {
        let keys = self.keys();
        let [lock, fence, tombstone, line] = keys.of_a_grant();
        let next_tombstone = keys.tombstone_of(next.owner());
        let all = [lock, fence, tombstone, line, &next_tombstone];
        let mut call = Call::new(&self.store.scripts.hand_over, all);
        call.arg(self.owner()).arg(value(next)).arg(next.ttl().as_millis());
        // It may be about to queue up, over the other connection: so whether it has is not asked.
        if let Some(news) = self.store.subscriber() {
            for kind in [WatchKind::Queue, WatchKind::Hints] {
                call.arg(news.in_line(next, kind, &keys));
            }
            if self.followed.load(Ordering::Relaxed) {
                call.arg(1);
            }
        }
        let (answer, backed) = self.store.links.grant(Lane::Release, call).await?;
        match &answer {
            Value::Array(parts) => match parts.as_slice() {
                [token, Value::Int(others)] => {
                    let fencing = Some(fencing(token)?);
                    backed?;
                    Ok(Some(Handover::Granted { fencing, others: *others > 0 }))
                }
                _ => Err(senseless(&answer)),
            },
            Value::Int(1) => Ok(Some(Handover::Refused)),
            Value::Int(0) => Ok(Some(Handover::NotHeld)),
            _ => Err(senseless(&answer)),
        }
    }

    async fn watch(&self, kind: WatchKind) -> Result<Option<Watch>> {
        let Some(news) = self.store.subscriber() else { return Ok(None) };
        self.watched.get_or_init(|| kind);
        news.watch(self.claim.owner().fingerprint(), &self.keys()).await
    }
}

impl Drop for RedisLock {
    fn drop(&mut self) {
        if let Some(news) = self.store.subscriber()
            && self.watched.get().is_some()
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

/// Stands between owner token and metadata of every lock of ours, and in no owner token: so the value
/// of another library is not taken for one of ours, whatever it is made of.
const OURS: u8 = 0x1f;

/// What is stored while a claim holds its key.
fn value(claim: &Claim) -> Vec<u8> {
    [claim.owner().expose().as_bytes(), &[OURS], claim.metadata().as_bytes()].concat()
}

/// Describes the holder behind a stored value: ours is token and metadata, a foreign one anything.
fn holder(value: &[u8], left: i64, token: &Value) -> Holder {
    let ours = value.split_at_checked(OwnerToken::LEN);
    let ours = ours.and_then(|(owner, rest)| Some((owner, rest.strip_prefix(&[OURS])?)));
    let holder = match ours {
        Some((owner, metadata)) => Holder::new(OwnerFingerprint::of(owner))
            .with_metadata(Metadata::from_stored(metadata))
            .with_fencing(fencing(token).ok()),
        // The counter is that of an earlier holder of ours.
        None => Holder::foreign(value),
    };
    holder.with_remaining(remaining(left))
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
        // A mark may stand behind it; see `fence.lua`.
        Value::BulkString(text) => std::str::from_utf8(text).ok(),
        _ => None,
    };
    let number = number.and_then(|text| text.split('*').next()?.parse().ok());
    number.and_then(FencingToken::new).ok_or_else(|| senseless(token))
}

fn remaining(left: i64) -> Option<Duration> {
    u64::try_from(left).ok().map(Duration::from_millis)
}

fn foreign() -> Error {
    Error::new(
        ErrorKind::Foreign,
        "the key holds data of another type that never expires, so it is no lock; choose another \
         key or prefix, or remove the data if it is not needed",
    )
}

fn settling(left: i64) -> Error {
    let message = format!(
        "the server is new to the quorum or has lost its data, and grants nothing for {left} ms, so that \
         leases it may have forgotten end before"
    );
    Error::new(ErrorKind::Unavailable, message).with_effect(lock_core::Effect::NotApplied)
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
