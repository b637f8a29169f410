//! The optional trait of stores that report releases.

use async_trait::async_trait;

use super::{Attempt, Subscription};
use crate::error::Result;

/// Reports to a waiter that its key may be free (law N1).
///
/// Core subscribes when an attempt was refused, and retries at each signal. Without this trait,
/// waiters poll.
///
/// # Contract
///
/// * Signals are hints. They may be missing, late, doubled or spurious, so core also polls at long
///   intervals.
/// * Dropping the [`Subscription`] ends it.
/// * A store that can no longer serve a subscription drops its
///   [`SignalSender`](super::SignalSender). Core then opens another subscription.
///
/// # Cancel safety
///
/// As for [`Lock`](super::Lock).
///
/// # Examples
///
/// ```
/// use lock_core::LockProvider;
/// use lock_core::backend::{Attempt, Claim, Signal};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let provider = lock_memory::MemoryProvider::new();
/// let claim = || Claim::mint("invoice/42", Duration::from_secs(30));
/// let (holder, waiter) = (provider.lock(claim()?), provider.lock(claim()?));
/// assert!(matches!(holder.try_acquire().await?, Attempt::Granted(_)));
///
/// let hints = waiter.as_hints().expect("this store has hints");
/// let mut subscription = hints.subscribe().await?;
/// assert!(matches!(hints.try_acquire_or_listen().await?, Attempt::Held(_)));
/// let _ = holder.release().await?;
/// assert_eq!(subscription.next().await, Some(Signal::Hint));
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Hints: Send + Sync {
    /// Opens a subscription for this owner, and returns once signals can arrive.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) if this user may not subscribe. Core then
    /// polls.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves no subscription.
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
    /// let waiter = MemoryProvider::new().lock(Claim::mint("k", Duration::from_secs(30))?);
    /// let hints = waiter.as_hints().expect("this store has it");
    /// let subscription = hints.subscribe().await?;
    /// drop(subscription); // ends it
    /// # Ok(())
    /// # }
    /// ```
    async fn subscribe(&self) -> Result<Subscription>;

    /// Asks for the key as [`try_acquire`](super::Lock::try_acquire) does, and reports the next
    /// release if the key is held.
    ///
    /// # For implementors
    ///
    /// Core calls this after every `subscribe`, so that no release in between is missed.
    ///
    /// | the store | implementation |
    /// |---|---|
    /// | reports every release to every subscription of the key | as `try_acquire` |
    /// | reports releases to registered waiters | registers the waiter in the same atomic step as the refusal |
    ///
    /// Without an open subscription of this owner, it is a plain attempt. No hint is needed when a
    /// lease ends, because waiters ask again at the end that the refusal reported.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](super::Lock::try_acquire), and
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) if this user may not register a waiter. Core
    /// then polls.
    ///
    /// # Cancel safety
    ///
    /// As for [`Lock`](super::Lock).
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
    /// let waiter = MemoryProvider::new().lock(Claim::mint("k", Duration::from_secs(30))?);
    /// let hints = waiter.as_hints().expect("this store has it");
    /// let _subscription = hints.subscribe().await?;
    /// assert!(matches!(hints.try_acquire_or_listen().await?, Attempt::Granted(_))); // it was free
    /// # Ok(())
    /// # }
    /// ```
    async fn try_acquire_or_listen(&self) -> Result<Attempt>;
}
