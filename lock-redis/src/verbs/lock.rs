//! The verbs of one lock in Redis.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use lock_core::backend::{
    Attempt, Busy, Claim, FencingFloor, Grant, HandOver, Hints, Queue, Release, Renewal,
    Subscription, Transfer, Ttl,
};
use lock_core::{
    Error, ErrorKind, FencingToken, Holder, Lock, LockKey, Occupancy, OwnerFingerprint, OwnerToken,
    Result,
};
use redis::Value;

use super::answer::{
    bad_fence, fencing, foreign, holder, remaining, senseless, settling, value, words,
};
use super::scripts::Scripts;
use crate::keys::{Keys, Prefix};
use crate::net::call::Call;
use crate::net::links::{Links, Purpose};
use crate::wait::subscriber::Subscriber;
use crate::wait::waiters::Kind;

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
    /// Reports who holds a key.
    pub(crate) async fn inspect(&self, key: &LockKey) -> Result<Occupancy> {
        // No owner's tombstone is looked at.
        let keys = Keys::new(&self.prefix, key, &OwnerToken::from_bits([0; 16]));
        let all = [keys.lock(), keys.fence(), keys.queue()];
        let answer =
            self.links.invoke(Purpose::Acquire, Call::new(&self.scripts.inspect, all)).await?;
        let (occupancy, waiting) = match words(&answer)? {
            (b"free", [Value::Int(waiting)]) => (Occupancy::free(), waiting),
            (b"foreign", []) => return Err(foreign()),
            (b"other", [Value::Int(left), Value::Int(waiting)]) => {
                let holder = Holder::foreign(b"").with_remaining(remaining(*left));
                (Occupancy::held_by(holder), waiting)
            }
            (b"held", [Value::BulkString(value), Value::Int(left), token, Value::Int(waiting)]) => {
                (Occupancy::held_by(holder(value, *left, token)), waiting)
            }
            _ => return Err(senseless(&answer)),
        };
        // Without a subscription nobody waits in the store.
        Ok(occupancy.with_waiting(usize::try_from(*waiting).ok()))
    }
}

pub(crate) struct RedisLock {
    store: Arc<Store>,
    claim: Claim,
    /// Kept only where making them takes long.
    keys: Option<Box<Keys>>,
    /// The fencing token of the grant, once it is known; zero before. It only saves a renewal whose
    /// counter was deleted by hand; another lock of the same claim does without.
    token: AtomicU64,
}

impl RedisLock {
    pub(crate) fn new(store: Arc<Store>, claim: Claim) -> Self {
        let keys = Keys::that_take_long(&store.prefix, claim.key(), claim.owner_token());
        let keys = keys.map(Box::new);
        Self { store, claim, keys, token: AtomicU64::new(0) }
    }

    fn keys(&self) -> Cow<'_, Keys> {
        match &self.keys {
            Some(keys) => Cow::Borrowed(keys),
            None => Cow::Owned(Keys::new(
                &self.store.prefix,
                self.claim.key(),
                self.claim.owner_token(),
            )),
        }
    }

    fn owner(&self) -> &str {
        self.claim.owner_token().expose()
    }

    fn fingerprint(&self) -> OwnerFingerprint {
        self.claim.owner_token().fingerprint()
    }

    /// Makes the call that asks for the key; with a kind, it takes a place in the queue if refused.
    fn acquisition(&self, keys: &Keys, takes: Option<Kind>, floor: u64) -> Call<'_> {
        let Store { scripts, settle, subscriber, .. } = &*self.store;
        let [lock, fence, tombstone, queue] = keys.of_a_grant();
        let mut call = match settle {
            None => Call::new(&scripts.acquire, [lock, fence, tombstone, queue]),
            Some((mark, _)) => Call::new(&scripts.acquire, [lock, fence, tombstone, queue, mark]),
        };
        call.arg(value(&self.claim)).arg(self.claim.ttl().as_millis()).arg(floor);
        if let Some((_, time)) = settle {
            call.arg(time.as_millis()).name_process();
        } else if let Some(subscriber) = subscriber {
            let place = takes.or_else(|| subscriber.standing(self.fingerprint())?.place);
            if let Some(kind) = place {
                let text = subscriber.queue_entry(&self.claim, kind, keys);
                call.arg(text).arg(u8::from(takes.is_some()));
            }
        }
        call
    }

    /// Asks for the key, above a floor, or taking a place if it is refused.
    async fn attempt(&self, waiting: Option<Kind>, floor: u64) -> Result<Attempt> {
        self.claim.mode().require_exclusive()?;
        let keys = self.keys();
        let subscriber = self.store.subscriber.as_ref().zip(waiting);
        let takes = subscriber
            .and_then(|(all, kind)| Some((all, all.takes_place(self.fingerprint(), kind)?)));
        let call = self.acquisition(&keys, takes.map(|(_, kind)| kind), floor);
        let (answer, backed) = self.store.links.grant(Purpose::Acquire, call).await?;
        if let Some((subscriber, _)) = takes {
            subscriber.is_answered(self.fingerprint());
        }
        match &answer {
            Value::BulkString(_) => {
                let fencing = Some(self.note(&answer)?);
                backed.map(|()| Attempt::granted(fencing))
            }
            Value::Int(left) => Ok(Attempt::held(remaining(*left))),
            _ => match words(&answer)? {
                (b"contested", [Value::Int(left), Value::Int(foreign)]) => {
                    // Data of other types may be changed at any time by whoever uses it.
                    let (foreign, is_text) = (*foreign != 0, *foreign == 1);
                    if let Some((subscriber, kind)) = takes
                        && is_text
                    {
                        let command = self.acquisition(&keys, Some(kind), 0).command();
                        subscriber.follow(self.fingerprint(), &keys, command);
                    }
                    Ok(Attempt::Held(Busy::new(remaining(*left)).contested(foreign)))
                }
                (b"undone", []) => Ok(Attempt::Undone),
                (b"foreign", []) => Err(foreign()),
                (b"fence", [why]) => Err(bad_fence(why)),
                (b"settling", [Value::Int(left)]) => Err(settling(*left)),
                _ => Err(senseless(&answer)),
            },
        }
    }

    /// Remembers the token of the grant, for a renewal that finds its counter deleted.
    fn note(&self, token: &Value) -> Result<FencingToken> {
        let token = fencing(token)?;
        self.token.store(token.as_u64(), Ordering::Relaxed);
        Ok(token)
    }
}

#[async_trait]
impl Lock for RedisLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        self.attempt(None, 0).await
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        let keys = self.keys();
        let mut call = Call::new(&self.store.scripts.renew, [keys.lock(), keys.fence()]);
        call.arg(self.owner()).arg(ttl.as_millis());
        match self.token.load(Ordering::Relaxed) {
            0 => {}
            token => drop(call.arg(token)),
        }
        let (answer, backed) = self.store.links.grant(Purpose::Hold, call).await?;
        match &answer {
            Value::BulkString(_) => {
                let fencing = Some(self.note(&answer)?);
                backed.map(|()| Renewal::renewed(fencing))
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
        let subscriber = self.store.subscriber.as_ref();
        let waiter = subscriber.and_then(|all| Some((all, all.standing(self.fingerprint())?)));
        if let Some((subscriber, standing)) = waiter
            && let Some(kind) = standing.place
        {
            call.arg(subscriber.queue_entry(&self.claim, kind, &keys));
            if standing.followed {
                call.arg(1);
            }
        }
        let answer = match self.store.links.invoke(Purpose::Release, call).await? {
            Value::Int(1) => Release::Released,
            Value::Int(2) => Release::Contested,
            Value::Int(0) => Release::NotHeld,
            answer => return Err(senseless(&answer)),
        };
        if let Some((subscriber, _)) = waiter {
            subscriber.forget(self.fingerprint(), answer == Release::NotHeld);
        }
        Ok(answer)
    }

    fn as_hints(&self) -> Option<&dyn Hints> {
        self.store.subscriber.is_some().then_some(self as _)
    }

    fn as_queue(&self) -> Option<&dyn Queue> {
        self.store.subscriber.is_some().then_some(self as _)
    }

    fn as_hand_over(&self) -> Option<&dyn HandOver> {
        Some(self)
    }

    fn as_fencing_floor(&self) -> Option<&dyn FencingFloor> {
        Some(self)
    }
}

#[async_trait]
impl Hints for RedisLock {
    async fn subscribe(&self) -> Result<Subscription> {
        match &self.store.subscriber {
            Some(subscriber) => subscriber.subscribe(self.fingerprint(), &self.keys()).await,
            None => {
                let message = "connections of a pool cannot subscribe";
                Err(Error::new(ErrorKind::Unsupported, message))
            }
        }
    }

    async fn try_acquire_or_listen(&self) -> Result<Attempt> {
        self.attempt(Some(Kind::Listens), 0).await
    }
}

#[async_trait]
impl Queue for RedisLock {
    async fn try_acquire_or_enqueue(&self) -> Result<Attempt> {
        self.attempt(Some(Kind::Queues), 0).await
    }
}

#[async_trait]
impl FencingFloor for RedisLock {
    async fn try_acquire_above(&self, floor: FencingToken) -> Result<Attempt> {
        self.attempt(None, floor.as_u64()).await
    }

    async fn raise(&self, to: FencingToken) -> Result<Option<FencingToken>> {
        if to > FencingToken::MAX_RAISE {
            let message = format!("cannot raise a fencing token to {to}; the largest is 2^53 - 1");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let keys = self.keys();
        let mut call = Call::new(&self.store.scripts.raise, [keys.lock(), keys.fence()]);
        call.arg(self.owner()).arg(to.as_u64());
        let answer = self.store.links.invoke(Purpose::Acquire, call).await?;
        match &answer {
            Value::BulkString(_) => Ok(Some(self.note(&answer)?)),
            _ => match words(&answer)? {
                (b"lost", []) => Ok(None),
                (b"fence", [why]) => Err(bad_fence(why)),
                _ => Err(senseless(&answer)),
            },
        }
    }
}

#[async_trait]
impl HandOver for RedisLock {
    async fn hand_over(&self, next: &Claim) -> Result<Transfer> {
        next.mode().require_exclusive()?;
        let keys = self.keys();
        let [lock, fence, tombstone, queue] = keys.of_a_grant();
        let next_tombstone = keys.tombstone_of(next.owner_token());
        let all = [lock, fence, tombstone, queue, &next_tombstone];
        let mut call = Call::new(&self.store.scripts.hand_over, all);
        call.arg(self.owner()).arg(value(next)).arg(next.ttl().as_millis());
        // It may be about to queue up, over the other connection: so whether it has is not asked.
        if let Some(subscriber) = &self.store.subscriber {
            for kind in [Kind::Queues, Kind::Listens] {
                call.arg(subscriber.queue_entry(next, kind, &keys));
            }
            if subscriber.standing(self.fingerprint()).is_some_and(|own| own.followed) {
                call.arg(1);
            }
        }
        let (answer, backed) = self.store.links.grant(Purpose::Release, call).await?;
        let transfer = match &answer {
            Value::Array(parts) => match parts.as_slice() {
                [token, Value::Int(others)] => {
                    let grant = Grant::new(Some(fencing(token)?));
                    backed?;
                    Transfer::Granted { grant, others: *others > 0 }
                }
                _ => return Err(senseless(&answer)),
            },
            Value::Int(1) => Transfer::Refused,
            Value::Int(0) => Transfer::NotHeld,
            _ => return Err(senseless(&answer)),
        };
        if let Some(subscriber) = &self.store.subscriber {
            subscriber.forget(self.fingerprint(), transfer == Transfer::NotHeld);
        }
        Ok(transfer)
    }
}

impl fmt::Debug for RedisLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RedisLock").field(&self.claim).finish()
    }
}
