//! The two required traits of a backend.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Attempt, Claim, FencingFloor, HandOver, Hints, Inspect, ProviderInfo, Queue, Release, Renewal,
};
use crate::error::Result;
use crate::value::Ttl;

/// Binds claims to a store that keeps locks.
///
/// This trait and [`Lock`] are the contract between backend authors and core; applications use
/// [`LockClient`](crate::LockClient). One provider serves any number of tasks.
///
/// # Contract
///
/// * Two locks of the same claim are interchangeable. One can renew or release what the other has
///   acquired, and wait in its place. A lock may cache, but what must be remembered about an owner
///   is in the store or in the provider.
/// * The optional traits of a provider and its locks never change.
///
/// # For decorators
///
/// A provider that wraps another one must forward every method, or else it hides an optional trait.
/// Put `#[deny(clippy::missing_trait_methods)]` on the implementations of this trait and of
/// [`Lock`]. The lint also reports methods that a later version of this crate adds.
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
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::LockProvider;
    ///
    /// let store = lock_memory::MemoryProvider::new();
    /// assert_eq!(store.info().name(), "memory");
    /// ```
    fn info(&self) -> &ProviderInfo;

    /// Binds a claim to this store, without any I/O.
    ///
    /// It returns an `Arc`, because the guard, the renewal task and the undo share the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockProvider;
    /// # use lock_core::backend::Claim;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// let store = MemoryProvider::new();
    /// let claim = Claim::mint("invoice/42", Duration::from_secs(30))?;
    /// let (one, same) = (store.lock(claim.clone()), store.lock(claim)); // interchangeable
    /// let _ = one.try_acquire().await?;
    /// let _ = same.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    fn lock(&self, claim: Claim) -> Arc<dyn Lock>;

    /// Returns the trait that reports who holds a key, if the store has it.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::LockProvider;
    ///
    /// let store = lock_memory::MemoryProvider::new();
    /// assert!(store.as_inspect().is_some());
    /// ```
    fn as_inspect(&self) -> Option<&dyn Inspect> {
        None
    }
}

/// Acquires, renews and releases one key for one claim.
///
/// The laws are cited by letter; the project's `LAWS.md` lists them.
///
/// # Contract
///
/// * Each verb is one atomic step in the store.
/// * Every verb may be repeated for the same claim. A repeated request has one effect.
/// * Verbs of one claim may run at the same time.
/// * The [`Effect`](super::Effect) of an error says what the request did to the store. *Unknown* is
///   always safe. *Not applied* saves the undo.
///
/// # Cancel safety
///
/// Core sets a time limit on every call, and may drop the future at any await point. Then:
///
/// * The request may still take effect.
/// * Nothing else may remain of the call: no task, no subscription, and no connection that returns
///   to a pool with an unanswered request.
/// * No request may take effect more than [`Release::TOMBSTONE`] after the release that undoes it,
///   because its tombstone may be gone by then. Set a time limit in the store, such as a statement
///   time-out. A limit in the client does not stop a request that has left.
///
/// # Examples
///
/// The three verbs over a map, for locks within one process. The mutex makes each verb one atomic
/// step. [`LockProvider`] shows how they are called.
///
/// ```
/// use lock_core::backend::{Attempt, Claim, Release, Renewal, Ttl, async_trait};
/// use lock_core::{Lock, OwnerToken, Result};
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex, PoisonError};
/// use std::time::Instant;
///
/// #[derive(Debug, Default)]
/// struct Store {
///     leases: HashMap<String, (OwnerToken, Instant)>, // by key: the owner, and the end
///     tombstones: HashMap<OwnerToken, Instant>,       // until when an owner is refused
/// }
///
/// #[derive(Debug)]
/// struct MapLock {
///     claim: Claim,
///     store: Arc<Mutex<Store>>,
/// }
///
/// impl MapLock {
///     fn step<T>(&self, verb: impl FnOnce(&mut Store, Instant) -> T) -> T {
///         let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
///         let now = Instant::now();
///         store.leases.retain(|_, (_, end)| now < *end);
///         store.tombstones.retain(|_, end| now < *end);
///         verb(&mut store, now)
///     }
/// }
///
/// #[async_trait]
/// impl Lock for MapLock {
///     async fn try_acquire(&self) -> Result<Attempt> {
///         self.claim.mode().require_exclusive()?;
///         let owner = *self.claim.owner_token();
///         Ok(self.step(|store, now| {
///             if store.tombstones.contains_key(&owner) {
///                 return Attempt::Undone; // law U1
///             }
///             let new_end = now + self.claim.ttl().as_duration();
///             let key = self.claim.key().to_string();
///             let (holder, end) = store.leases.entry(key).or_insert((owner, new_end));
///             if *holder != owner {
///                 return Attempt::held(*end - now);
///             }
///             *end = new_end.max(*end); // a repeated request never shortens the lease (law E2)
///             Attempt::granted(None) // this store has no fencing
///         }))
///     }
///
///     async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
///         Ok(self.step(|store, now| match store.leases.get_mut(self.claim.key().as_str()) {
///             Some((holder, end)) if holder == self.claim.owner_token() => {
///                 *end = now + ttl.as_duration();
///                 Renewal::renewed(None)
///             }
///             _ => Renewal::Lost,
///         }))
///     }
///
///     async fn release(&self) -> Result<Release> {
///         let (key, owner) = (self.claim.key().as_str(), *self.claim.owner_token());
///         Ok(self.step(|store, now| {
///             if store.leases.get(key).is_some_and(|(holder, _)| *holder == owner) {
///                 store.leases.remove(key);
///                 return Release::Released;
///             }
///             store.tombstones.insert(owner, now + Release::TOMBSTONE);
///             Release::NotHeld
///         }))
///     }
/// }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let store = Arc::default();
/// # let lock = || {
/// #     let claim = Claim::mint("invoice/42", std::time::Duration::from_secs(30))?;
/// #     Ok::<_, lock_core::Error>(MapLock { claim, store: Arc::clone(&store) })
/// # };
/// # let (first, second) = (lock()?, lock()?);
/// # assert_eq!(first.try_acquire().await?, Attempt::granted(None));
/// # assert!(matches!(second.try_acquire().await?, Attempt::Held(_)));
/// # assert_eq!(first.renew(first.claim.ttl()).await?, Renewal::renewed(None));
/// # assert_eq!(second.renew(first.claim.ttl()).await?, Renewal::Lost);
/// # assert_eq!(first.release().await?, Release::Released);
/// # assert_eq!(second.release().await?, Release::NotHeld);
/// # assert_eq!(second.try_acquire().await?, Attempt::Undone);
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Lock: Debug + Send + Sync + 'static {
    /// Asks for the key once, without waiting.
    ///
    /// # For implementors
    ///
    /// | the key is | answer | effect |
    /// |---|---|---|
    /// | free | [`Granted`](Attempt::Granted) | held by this owner for the ttl of the claim, with a fencing token larger than every earlier one of the key (laws E1, T1, F1) |
    /// | held by this owner | [`Granted`](Attempt::Granted) | the same fencing token; the lease ends after the whole ttl, or as late as before if that is later (law E2) |
    /// | held by another owner | [`Held`](Attempt::Held) | none |
    /// | held by a locker of another library | [`Held`](Attempt::Held) with [`Busy::contested`](super::Busy::contested) | none |
    /// | any of these, and this owner has a tombstone | [`Undone`](Attempt::Undone) | none (law U1) |
    ///
    /// A repeated request never shortens the lease, because it may be an old one that arrives after
    /// a renewal.
    ///
    /// **Fencing tokens.** Grant the larger of the time of the store, in microseconds since 1970, and
    /// the last token + 1. Then tokens keep growing after the store has lost its data. A counter alone
    /// is enough only if nothing that a token protects outlives the store. One counter may serve all
    /// keys. Keep it until no holder of an earlier token can still write. Tokens above
    /// [`FencingToken::MAX_RAISE`](crate::FencingToken::MAX_RAISE) cannot be raised.
    ///
    /// A claim of a [`Mode`](super::Mode) that the store does not have is refused with
    /// [`Mode::require_exclusive`](super::Mode::require_exclusive).
    ///
    /// # Errors
    ///
    /// Contention is no error. [`ErrorKind::Foreign`](crate::ErrorKind::Foreign) if the key holds
    /// data that no lock wrote and that never expires (law X1).
    ///
    /// # Cancel safety
    ///
    /// As for [the trait](Lock).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockProvider;
    /// # use lock_core::backend::Claim;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::backend::Attempt;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let store = MemoryProvider::new();
    /// let claim = || Claim::mint("invoice/42", Duration::from_secs(30));
    /// let (first, second) = (store.lock(claim()?), store.lock(claim()?));
    /// assert!(matches!(first.try_acquire().await?, Attempt::Granted(_)));
    /// assert!(matches!(first.try_acquire().await?, Attempt::Granted(_))); // may be repeated
    /// assert!(matches!(second.try_acquire().await?, Attempt::Held(_)));
    /// # Ok(())
    /// # }
    /// ```
    async fn try_acquire(&self) -> Result<Attempt>;

    /// Sets the remaining time of the lease to `ttl`, if this owner still holds it.
    ///
    /// # For implementors
    ///
    /// Replace the remaining time (law T2). Never add to it. Never bring back a lease that has
    /// ended. The fencing token does not change.
    ///
    /// The answer contains the token. A resumed guard learns its token from it, and core detects a
    /// lease that was replaced under the same owner.
    ///
    /// # Errors
    ///
    /// Those of the store. A key that this owner does not hold is the answer
    /// [`Lost`](Renewal::Lost), not an error.
    ///
    /// # Cancel safety
    ///
    /// As for [the trait](Lock).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockProvider;
    /// # use lock_core::backend::Claim;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::backend::{Renewal, Ttl};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let lock = MemoryProvider::new().lock(Claim::mint("invoice/42", Duration::from_secs(30))?);
    /// let minute = Ttl::new(Duration::from_secs(60))?;
    /// assert_eq!(lock.renew(minute).await?, Renewal::Lost); // never held
    /// let _ = lock.try_acquire().await?;
    /// assert!(matches!(lock.renew(minute).await?, Renewal::Renewed(_)));
    /// # Ok(())
    /// # }
    /// ```
    async fn renew(&self, ttl: Ttl) -> Result<Renewal>;

    /// Frees the key, if this owner still holds it.
    ///
    /// It also undoes an acquisition whose answer was lost.
    ///
    /// # For implementors
    ///
    /// | the key is | answer | effect |
    /// |---|---|---|
    /// | held by this owner | [`Released`](Release::Released) | free |
    /// | anything else | [`NotHeld`](Release::NotHeld) | this owner gets a tombstone (law U1) |
    ///
    /// * A tombstone is about one owner and one key. It may be about the owner alone, whose token
    ///   belongs to one acquisition.
    /// * Comparing the owner and freeing the key are one atomic step (law E3).
    /// * A tombstone lasts for [`Release::TOMBSTONE`] or longer. Meanwhile `try_acquire` answers
    ///   this owner with [`Attempt::Undone`]. Otherwise a slow request could take the lock after
    ///   its own undo.
    /// * In both cases this owner leaves the queue of the store and gets no more signals. Drop the
    ///   sender of its subscription.
    ///
    /// # Errors
    ///
    /// Those of the store. A key that this owner does not hold is the answer
    /// [`NotHeld`](Release::NotHeld), not an error.
    ///
    /// # Cancel safety
    ///
    /// As for [the trait](Lock).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockProvider;
    /// # use lock_core::backend::Claim;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::backend::{Attempt, Release};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let lock = MemoryProvider::new().lock(Claim::mint("invoice/42", Duration::from_secs(30))?);
    /// let _ = lock.try_acquire().await?;
    /// assert_eq!(lock.release().await?, Release::Released);
    /// assert_eq!(lock.release().await?, Release::NotHeld); // leaves a tombstone
    /// assert_eq!(lock.try_acquire().await?, Attempt::Undone);
    /// # Ok(())
    /// # }
    /// ```
    async fn release(&self) -> Result<Release>;

    /// Returns the trait that reports releases to waiters, if the store has it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockProvider;
    /// # use lock_core::backend::Claim;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    ///
    /// let lock = MemoryProvider::new().lock(Claim::mint("invoice/42", Duration::from_secs(30))?);
    /// assert!(lock.as_hints().is_some() && lock.as_queue().is_some());
    /// assert!(lock.as_hand_over().is_some() && lock.as_fencing_floor().is_some());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    fn as_hints(&self) -> Option<&dyn Hints> {
        None
    }

    /// Returns the trait of the queue, if the store has one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockProvider;
    /// # use lock_core::backend::Claim;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    ///
    /// let lock = MemoryProvider::new().lock(Claim::mint("invoice/42", Duration::from_secs(30))?);
    /// assert!(lock.as_queue().is_some());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    fn as_queue(&self) -> Option<&dyn Queue> {
        None
    }

    /// Returns the trait that hands the key to another claim, if the store has it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockProvider;
    /// # use lock_core::backend::Claim;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    ///
    /// let lock = MemoryProvider::new().lock(Claim::mint("invoice/42", Duration::from_secs(30))?);
    /// assert!(lock.as_hand_over().is_some());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    fn as_hand_over(&self) -> Option<&dyn HandOver> {
        None
    }

    /// Returns the trait that raises fencing tokens, if the store has it. Only a quorum uses it.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockProvider;
    /// # use lock_core::backend::Claim;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    ///
    /// let lock = MemoryProvider::new().lock(Claim::mint("invoice/42", Duration::from_secs(30))?);
    /// assert!(lock.as_fencing_floor().is_some());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    fn as_fencing_floor(&self) -> Option<&dyn FencingFloor> {
        None
    }
}
