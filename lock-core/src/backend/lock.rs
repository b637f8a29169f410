//! The two required traits of a backend.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Attempt, Claim, FencingFloor, HandOver, Hints, Inspect, ProviderInfo, Queue, Release, Renewal,
};
use crate::error::Result;
use crate::value::Ttl;

/// A store that locks live in.
///
/// This trait and [`Lock`] are the contract between backend authors and core; applications use
/// [`LockClient`](crate::LockClient). A provider is cheap to share and safe for any number of tasks.
///
/// # Contract
///
/// * Two locks that were made from the same claim are interchangeable: whatever one of them has done,
///   the other can renew, release or wait for. A lock may cache; what must be remembered about an owner
///   is in the store or in the provider.
/// * Which optional traits a provider has, and its locks have, never changes.
///
/// # For decorators
///
/// A provider that wraps another one forwards every method, so that it hides none of its abilities:
/// put `#[deny(clippy::missing_trait_methods)]` on the implementations of this trait and of [`Lock`].
/// A later version of this crate may then add a method that you have to forward.
///
/// # Examples
///
/// ```
/// use lock_core::backend::Claim;
/// use lock_core::{Capabilities, Capability, LockProvider};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let provider = lock_memory::MemoryProvider::new();
/// assert!(Capabilities::of(&provider).has(Capability::Queue));
///
/// let lock = provider.lock(Claim::mint("invoice/42", Duration::from_secs(30))?);
/// println!("{:?}", lock.try_acquire().await?);
/// println!("{:?}", lock.release().await?);
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
pub trait LockProvider: Debug + Send + Sync + 'static {
    /// Describes the provider: its name, what it promises, and its clock if it brings one.
    fn info(&self) -> &ProviderInfo;

    /// Binds a claim to this store. Does no I/O.
    ///
    /// The lock is shared by the guard, the renewal task and the undo, hence the `Arc`.
    fn lock(&self, claim: Claim) -> Arc<dyn Lock>;

    /// Returns what reports who holds a key, if the store can.
    fn as_inspect(&self) -> Option<&dyn Inspect> {
        None
    }
}

/// One owner's claim to one key: the three verbs that every backend has.
///
/// The laws are cited by letter; the project's `LAWS.md` lists them.
///
/// # Contract
///
/// * Each verb is one atomic step in the store.
/// * Every verb may be repeated for the same claim. A repeated request has one effect.
/// * Verbs of one claim may run at the same time.
/// * An error reports by its [`Effect`](super::Effect) what the request did to the store.
///   *Unknown* is always safe. *Not applied* saves an undo.
///
/// # Cancellation
///
/// Core sets a time limit on every call, and may drop the future at any await point.
///
/// * The request may still take effect.
/// * Nothing else of the call may remain: no task, no subscription, and no connection that returns to a
///   pool while it owes an answer.
/// * No request may take effect more than [`Release::TOMBSTONE`] after the release that undoes it, as its
///   tombstone is gone by then. Give the store a limit of its own, such as a statement time-out. A limit
///   in the client alone does not stop a request that has left.
///
/// # Examples
///
/// See [`LockProvider`].
#[async_trait]
pub trait Lock: Debug + Send + Sync + 'static {
    /// Asks once for the key, without waiting.
    ///
    /// # For implementors
    ///
    /// | the key is | answer | effect |
    /// |---|---|---|
    /// | free | [`Granted`](Attempt::Granted) | held for the claim's owner and ttl, with a fencing token larger than every earlier one of the key, in the same step (laws E1, T1, F1) |
    /// | held by this owner | [`Granted`](Attempt::Granted) | the same fencing token; the lease ends the whole ttl from now, or as late as before if that is later, as the request may be an old one that arrives after a renewal (law E2) |
    /// | held by another owner | [`Held`](Attempt::Held) | none |
    /// | held by a locker of another library | [`Held`](Attempt::Held) with [`Busy::contested`](super::Busy::contested) | none |
    /// | any of these, and this owner has released without holding | [`Undone`](Attempt::Undone) | none (law U1) |
    ///
    /// A claim of a [`Mode`](super::Mode) that the store does not have is refused with
    /// [`Mode::require_exclusive`](super::Mode::require_exclusive).
    ///
    /// # Errors
    ///
    /// Contention is no error. [`ErrorKind::Foreign`](crate::ErrorKind::Foreign) if the key holds data
    /// that no lock wrote and that never expires (law X1).
    async fn try_acquire(&self) -> Result<Attempt>;

    /// Sets the remaining time of the lease to `ttl`, if this owner still holds it.
    ///
    /// # For implementors
    ///
    /// Replace the remaining time. Never add to it, and never bring back a lease that has ended (law
    /// T2). The fencing token stays as it is. The answer has it: a resumed guard learns its token there, and
    /// core notices a lease that was replaced under the same owner.
    async fn renew(&self, ttl: Ttl) -> Result<Renewal>;

    /// Frees the key, if this owner still holds it. Also undoes an acquisition whose answer was lost.
    ///
    /// # For implementors
    ///
    /// | the key is | answer | effect |
    /// |---|---|---|
    /// | held by this owner | [`Released`](Release::Released) | free |
    /// | anything else | [`NotHeld`](Release::NotHeld) | the owner is remembered for [`Release::TOMBSTONE`] or longer (a tombstone), and `try_acquire` answers it with [`Attempt::Undone`]: a request that was slow on its way must not take the lock after its own undo (law U1) |
    ///
    /// Comparing the owner and freeing the key are one atomic step (law E3). Either way this owner
    /// leaves the store's queue, and no longer gets signals.
    async fn release(&self) -> Result<Release>;

    /// Returns what reports releases to waiters, if the store can.
    fn as_hints(&self) -> Option<&dyn Hints> {
        None
    }

    /// Returns the store's queue, if it has one.
    fn as_queue(&self) -> Option<&dyn Queue> {
        None
    }

    /// Returns what passes the key on to another claim, if the store can.
    fn as_hand_over(&self) -> Option<&dyn HandOver> {
        None
    }

    /// Returns what raises fencing tokens, if the store can. Only a quorum uses it.
    fn as_fencing_floor(&self) -> Option<&dyn FencingFloor> {
        None
    }
}
