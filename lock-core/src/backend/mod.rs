//! What a backend author writes: a provider, and the verbs of its lock.

mod call;
mod claim;
mod factory;
mod forward;
mod info;
mod url;
mod watch;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use call::limited;
pub use claim::Claim;
pub use factory::ProviderFactory;
pub use info::{Capabilities, Capability, ProviderInfo};
pub(crate) use url::listed;
pub use url::{ProviderUrl, UrlOptions};
pub use watch::{Signal, Watch, WatchKind, WatchSender};

use crate::error::Result;
use crate::value::{FencingToken, Metadata, OwnerFingerprint, Ttl};

/// A store that locks live in.
///
/// # Contract
///
/// This trait and [`Lock`] are the contract between backend authors and core; applications talk to
/// [`LockClient`](crate::LockClient). A provider is cheap to share and safe for any number of tasks.
///
/// # For implementors
///
/// Write four verbs that are atomic in the store, and two more if waiting should be fast. *Done for you*, once, in core: minting owner
/// tokens, checking ttls, waiting, retrying, renewing, noticing loss, undoing requests whose answer
/// was lost, time limits, events. *Not* done for you: atomicity, expiry by the store's clock, and
/// monotone fencing tokens. `lock-testkit` tells in one line whether you got them right.
pub trait LockProvider: Debug + Send + Sync + 'static {
    /// Describes the provider: its name, its capabilities, and its clock if it brings one.
    fn info(&self) -> &ProviderInfo;

    /// Binds a claim to this store. Does no I/O.
    fn lock(&self, claim: Claim) -> Arc<dyn Lock>;
}

/// One owner's claim to one key: the verbs that a backend author writes.
///
/// The laws are cited by letter; the project's `DESIGN.md` lists them.
///
/// # Contract
///
/// * Each verb is atomic in the store.
/// * Core sets a time limit on every call, and may drop the future at any await point. The request
///   may still take effect then. Nothing else of the call may be left: no task, no subscription, and
///   no connection that goes back to a pool while it owes an answer.
/// * No request takes effect more than [`Release::TOMBSTONE`] after the release that undoes it, as
///   its tombstone is gone by then. Give the store a limit of its own for that, such as a statement
///   or socket time-out; a limit in the client alone does not stop what has left.
/// * Every verb may be repeated for the same claim: a repeated request has one effect.
/// * Verbs of one claim may run side by side.
/// * An error says by its [`Effect`](crate::Effect) what the request did to the store. *Unknown* is
///   always safe; *not applied* saves an undo.
#[async_trait]
pub trait Lock: Debug + Send + Sync + 'static {
    /// Returns the claim this lock was made of.
    fn claim(&self) -> &Claim;

    /// Asks once for the key, without waiting.
    ///
    /// # For implementors
    ///
    /// Free: hold the key for the claim's owner and ttl, and mint a fencing token larger than every
    /// earlier one of the key, in the same atomic step (laws E1, T1, F1). Held by this same owner:
    /// grant again, with the same fencing token and the whole ttl, unless more is left (law E2): the
    /// request may be an old one that arrives after a renewal. Held by another:
    /// [`Attempt::Held`], and nothing changes. Held by a locker of another library, with or without an
    /// expiry: [`Attempt::Contested`]. Released as not held before: [`Attempt::Undone`] (law U1).
    ///
    /// # Errors
    ///
    /// Contention is no error. [`ErrorKind::Foreign`](crate::ErrorKind::Foreign) when the key holds
    /// data that never expires and that no lock wrote (law X1).
    async fn try_acquire(&self) -> Result<Attempt>;

    /// Sets the remaining time of the lease to `ttl`, if this owner still holds it.
    ///
    /// # For implementors
    ///
    /// Replace the remaining time, never add to it, and never bring back a lease that has ended
    /// (law T2). The fencing token stays as it is.
    async fn renew(&self, ttl: Ttl) -> Result<Renewal>;

    /// Frees the key, if this owner still holds it. Also undoes an acquisition whose answer was lost.
    ///
    /// # For implementors
    ///
    /// Compare the owner and free in one atomic step (law E3). When the owner does *not* hold the
    /// key, remember its token for [`Release::TOMBSTONE`] or longer (a tombstone), and answer a later
    /// `try_acquire` of the same owner with [`Attempt::Undone`]: a request that was slow on its way
    /// must not take the lock after its own undo (law U1).
    async fn release(&self) -> Result<Release>;

    /// Tells who holds the key, without side effects (law I1).
    ///
    /// An owner whose acquisition has not been answered yet may be told already, then with a fencing
    /// token that its grant may still go beyond (see [`raise`](Lock::raise)).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) without
    /// [`Capability::Inspect`].
    async fn inspect(&self) -> Result<Option<Holder>>;

    /// Sets the grant's fencing token to `fencing`, if this owner still holds the key and its token is
    /// smaller; returns the token that the grant has then, or `None` if the key is not this owner's.
    ///
    /// A quorum agrees on one token with it (law Q1). The remaining time does not change.
    ///
    /// # For implementors
    ///
    /// The next grant of the key mints a larger one, whoever asks. A new grant whose claim has a
    /// [`fencing_floor`](Claim::fencing_floor) mints at least that; one that is more than a second
    /// ahead of the store's clock may be ignored, so that no client with a wrong clock uses the
    /// numbers up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) above [`FencingToken::LARGEST`], so that the
    /// next grant always has a number left; nothing changes then.
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) without
    /// [`Capability::FencingFloor`].
    async fn raise(&self, fencing: FencingToken) -> Result<Option<FencingToken>>;

    /// Frees the key, if this owner still holds it, and gives it to `next` in the same atomic step;
    /// `None` without [`Capability::Handover`].
    ///
    /// Core calls it when the claim that is next waits in the same client: one request is then both
    /// a release and an acquisition. Whoever queues in the store is passed over; core sees to it that
    /// this happens only so many times in a row.
    ///
    /// # For implementors
    ///
    /// The grant to `next` is one like any other: for its own ttl, with a fencing token larger than
    /// every earlier one (laws T1, F1); a place that `next` has in the store's queue is given up. Not
    /// held by this owner: `next` gets nothing, and this owner is remembered as by
    /// [`release`](Lock::release) (law U1), but where `next` holds the key already, the request has
    /// been repeated, and so is the answer; it may be an old copy, so it must not cut the lease short. `next` was released as not held before: free the key, and
    /// answer [`Handover::Refused`].
    async fn hand_over(&self, next: &Claim) -> Result<Option<Handover>>;

    /// Begins to wait for the key; `None` without [`Capability::Hints`], and for
    /// [`WatchKind::Queue`] without [`Capability::Queue`].
    ///
    /// # For implementors
    ///
    /// Return once signals can be received: core tries again right after, so that no release in
    /// between is missed. Signals are hints (law N1): they may be missing, late, doubled or spurious.
    /// Dropping the [`Watch`] must end the subscription.
    ///
    /// As long as a [`WatchKind::Queue`] is open, a `try_acquire` of this lock that is answered
    /// [`Attempt::Held`] also takes a place at the end of the key's queue in the store, in the same
    /// atomic step, unless it has one. Whatever frees the key (a release, also one by another
    /// library, or the end of a lease) gives it to the head of the queue: a release at once, the
    /// others at the next `try_acquire` of anybody. Such a grant mints its fencing token, takes the
    /// place out of the queue, signals the waiter, and lasts for [`Watch::CLAIM_WINDOW`] or its ttl,
    /// whichever is shorter; the waiter's `try_acquire` then makes it whole (law E2). So a waiter
    /// that died costs those behind it no more than that, and a delay of their own. A store that knows
    /// which waiters belong to one client may pass over all of them when one has let such a grant
    /// lapse, and may shorten the next window. `release` also gives up the owner's place.
    async fn watch(&self, kind: WatchKind) -> Result<Option<Watch>>;
}

/// Answers [`Lock::try_acquire`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The key is this owner's.
    Granted {
        /// The number of the grant; `None` if and only if the provider has no
        /// [`Capability::Fencing`].
        fencing: Option<FencingToken>,
    },
    /// The key is another owner's.
    Held {
        /// How long that lease has left unless it is renewed, if the store tells.
        remaining: Option<Duration>,
    },
    /// The key is another owner's, and lockers of other libraries compete for it.
    ///
    /// Their releases reach no waiter of ours, and they wait in no queue. So core asks again every
    /// 10 to 50 ms, more seldom when the foreign holder keeps the key for long, and passes the key on
    /// to no waiter of its own for one second. A store that serves a queue does the same: for a
    /// second after a foreign holder was seen, a released key is free for everybody.
    Contested {
        /// How long the present lease has left; `None` also if it never expires.
        remaining: Option<Duration>,
        /// The holder is a foreign one. False if the holder is one of ours, and a foreign one was
        /// seen within the last second.
        foreign: bool,
    },
    /// This owner cannot acquire any more, as it has released before, or as the backend had to undo an
    /// attempt of it (law U1). Core goes on with a fresh owner token, unless the application gave one.
    ///
    /// Backends return this after a release that answered [`Release::NotHeld`]; they may return it
    /// after any release.
    Undone,
}

/// Answers [`Lock::renew`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The lease ends the given ttl from now.
    Renewed {
        /// The same fencing token as at the grant.
        fencing: Option<FencingToken>,
    },
    /// The lease is not this owner's any more; nothing was changed.
    Lost,
}

/// Answers [`Lock::release`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// This owner held the key; now it is free.
    Released,
    /// This owner held the key; now it is free, and lockers of other libraries compete for it, so that
    /// this client should leave it to them for a moment (see [`Attempt::Contested`]).
    Contested,
    /// This owner did not hold the key; whoever does was not touched.
    NotHeld,
}

impl Release {
    /// How long a backend remembers an owner that released without holding, at least (law U1), and
    /// how much later than its undo a request may take effect, at most: one minute.
    pub const TOMBSTONE: Duration = Duration::from_secs(60);
}

/// Answers [`Lock::hand_over`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// This owner held the key; now `next` does.
    Granted {
        /// The number of the new grant, if the provider has fencing.
        fencing: Option<FencingToken>,
        /// Others wait for the key in the store.
        others: bool,
    },
    /// This owner held the key; now it is free or another's, as `next` was undone before (law U1).
    Refused,
    /// This owner did not hold the key, and `next` got nothing.
    NotHeld,
}

/// What [`Lock::inspect`] tells about the present holder.
///
/// # Examples
///
/// ```
/// use lock_core::{FencingToken, Holder, Metadata, OwnerToken};
/// use std::time::Duration;
///
/// let holder = Holder::new(OwnerToken::mint()?.fingerprint())
///     .with_metadata(Metadata::new("worker-7")?)
///     .with_remaining(Duration::from_secs(12))
///     .with_fencing(FencingToken::new(34));
/// assert_eq!(holder.remaining(), Some(Duration::from_secs(12)));
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    owner: OwnerFingerprint,
    metadata: Metadata,
    remaining: Option<Duration>,
    fencing: Option<FencingToken>,
    foreign: bool,
}

impl Holder {
    /// Describes a holder by its fingerprint alone.
    pub fn new(owner: OwnerFingerprint) -> Self {
        let (metadata, remaining, fencing) = Default::default();
        Self { owner, metadata, remaining, fencing, foreign: false }
    }

    /// Describes a locker of another library by whatever it wrote; empty if that cannot be read.
    pub fn foreign(value: &[u8]) -> Self {
        Self { foreign: true, ..Self::new(OwnerFingerprint::of(value)) }
    }

    /// Adds its note.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Adds how long its lease has left.
    #[must_use]
    pub fn with_remaining(mut self, remaining: impl Into<Option<Duration>>) -> Self {
        self.remaining = remaining.into();
        self
    }

    /// Adds the fencing token of its grant.
    #[must_use]
    pub fn with_fencing(mut self, fencing: impl Into<Option<FencingToken>>) -> Self {
        self.fencing = fencing.into();
        self
    }

    /// Returns a hash of its owner token, or of the foreign value at the key.
    pub fn owner(&self) -> OwnerFingerprint {
        self.owner
    }

    /// Returns its note, which anybody may have written.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns how long the lease has left; `None` if it never expires or the store cannot tell.
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining
    }

    /// Returns whether the holder is a locker of another library, which has neither a note nor a
    /// fencing token of ours.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Returns the fencing token of the grant; `None` if the store cannot tell it for certain.
    pub fn fencing(&self) -> Option<FencingToken> {
        self.fencing
    }
}
