//! The optional trait of stores that keep a queue for each key.

use async_trait::async_trait;

use super::{Attempt, Hints};
use crate::error::Result;

/// Grants a key to its waiters in the order of their arrival.
///
/// Without it, waiting clients compete for a released key, and one of them may lose every time.
///
/// # Contract
///
/// | event | effect |
/// |---|---|
/// | [`try_acquire_or_enqueue`](Queue::try_acquire_or_enqueue) is refused | the owner gets a place at the end of the queue, unless it has one already |
/// | a release, also by another library | the head of the queue is granted the key; at once if the store sees the release |
/// | the end of a lease | the head of the queue is granted the key, at the next attempt of any owner |
/// | a grant by the queue | the grant gets its fencing token, the owner leaves the queue, and [`Signal::Granted`](super::Signal::Granted) is sent |
/// | an attempt of the owner that was granted the key | the lease lasts for the whole ttl (law E2) |
/// | no such attempt within [`Signal::CONFIRM_WINDOW`](super::Signal::CONFIRM_WINDOW), or the ttl if that is shorter | the grant has ended; the next in the queue is granted the key |
/// | a release of the waiting owner, or the end of its subscription | the owner leaves the queue |
///
/// So a dead waiter delays those behind it by at most one window. A store may know which waiters
/// belong to one client. When one of them did not confirm its grant, the store may pass over all of
/// them, and may shorten the next window.
///
/// # Cancel safety
///
/// As for [`Lock`](super::Lock). Core releases every owner that may have a place in the queue.
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
/// let queue = waiter.as_queue().expect("this store has a queue");
/// let mut subscription = queue.subscribe().await?;
/// assert!(matches!(queue.try_acquire_or_enqueue().await?, Attempt::Held(_)));
/// let _ = holder.release().await?;
/// assert_eq!(subscription.next().await, Some(Signal::Granted));
/// assert!(matches!(waiter.try_acquire().await?, Attempt::Granted(_)));
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Queue: Hints {
    /// Asks for the key as [`try_acquire`](super::Lock::try_acquire) does, and joins the queue if
    /// it is held.
    ///
    /// The owner joins at the end of the queue, in the same atomic step, unless it has a place
    /// already. Without an open subscription of this owner it is a plain attempt, because no waiter
    /// would learn of the grant.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](super::Lock::try_acquire), and
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) if this user may not queue. Core then polls.
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
    /// let store = MemoryProvider::new();
    /// let claim = || Claim::mint("invoice/42", Duration::from_secs(30));
    /// let (holder, waiter) = (store.lock(claim()?), store.lock(claim()?));
    /// let _ = holder.try_acquire().await?;
    /// let queue = waiter.as_queue().expect("this store has it");
    /// let _subscription = queue.subscribe().await?;
    /// assert!(matches!(queue.try_acquire_or_enqueue().await?, Attempt::Held(_)));
    /// assert_eq!(store.waiters("invoice/42"), 1);
    /// # Ok(())
    /// # }
    /// ```
    async fn try_acquire_or_enqueue(&self) -> Result<Attempt>;
}
