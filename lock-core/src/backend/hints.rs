//! The optional trait of stores that report releases.

use async_trait::async_trait;

use super::{Attempt, Subscription};
use crate::error::Result;

/// Reports to a waiter that its key may be free (law N1).
///
/// Without it, waiters poll. With it, core subscribes when an attempt was refused, and asks again
/// at each signal.
///
/// # Contract
///
/// * Signals are hints: they may be missing, late, doubled or spurious. Core polls beside them, at
///   long intervals.
/// * Dropping the [`Subscription`] ends it.
/// * A subscription that the store cannot keep ends: its [`SignalSender`](super::SignalSender) is
///   dropped. Core opens another one.
///
/// # Errors
///
/// A store that refuses this user the right to subscribe answers with
/// [`ErrorKind::Denied`](crate::ErrorKind::Denied). Core then polls.
///
/// # Cancellation
///
/// As for [`Lock`](super::Lock). A dropped `subscribe` leaves no subscription.
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

    /// Asks for the key as [`try_acquire`](super::Lock::try_acquire) does. If the key is held, the
    /// next release is reported to this owner's subscription.
    ///
    /// # For implementors
    ///
    /// Core calls this after every `subscribe`, so that no release in between is missed. A store
    /// that reports every release to everybody does what `try_acquire` does. A store that reports
    /// only to those who are known to wait registers the waiter here, in the same atomic step as
    /// the refusal. If this owner has no open subscription, it is a plain attempt.
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
