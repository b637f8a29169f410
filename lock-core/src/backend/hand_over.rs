//! The optional trait of stores that release and grant in one step.

use async_trait::async_trait;

use super::{Claim, Grant};
use crate::error::Result;

/// Releases a key and grants it to another claim in one request.
///
/// Core uses it when the next waiter belongs to the same client. Waiters of other clients in the
/// queue of the store are passed over. Core bounds how often that happens
/// ([`Fairness::Turns`](crate::Fairness::Turns)).
///
/// # Examples
///
/// ```
/// use lock_core::LockProvider;
/// use lock_core::backend::{Attempt, Claim, Transfer};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let provider = lock_memory::MemoryProvider::new();
/// let claim = || Claim::mint("invoice/42", Duration::from_secs(30));
/// let (holder, next) = (provider.lock(claim()?), claim()?);
/// assert!(matches!(holder.try_acquire().await?, Attempt::Granted(_)));
/// let hand_over = holder.as_hand_over().expect("this store can");
/// assert!(matches!(hand_over.hand_over(&next).await?, Transfer::Granted { .. }));
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[async_trait]
pub trait HandOver: Send + Sync {
    /// Frees the key, if this owner still holds it, and grants it to `next` in the same atomic
    /// step.
    ///
    /// # For implementors
    ///
    /// | the key is | answer | effect |
    /// |---|---|---|
    /// | held by this owner | [`Granted`](Transfer::Granted) | a grant to `next` with the ttl of `next` and a fencing token larger than every earlier one (laws T1, F1); `next` leaves the queue |
    /// | held by this owner, and `next` has a tombstone | [`Refused`](Transfer::Refused) | free, as after a release |
    /// | held by `next` | [`Granted`](Transfer::Granted) | the same grant, because the request was repeated; its lease ends after the ttl of `next`, or as late as before if that is later |
    /// | held by neither | [`NotHeld`](Transfer::NotHeld) | this owner gets a tombstone, as after a release (law U1) |
    ///
    /// As for an attempt, a [`Mode`](super::Mode) of `next` that the store does not have is refused
    /// with [`Mode::require_exclusive`](super::Mode::require_exclusive), and nothing is released.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) if this user may not use it. Core then
    /// releases the key with [`release`](super::Lock::release).
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
    /// use lock_core::backend::Transfer;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let store = MemoryProvider::new();
    /// let stranger = store.lock(Claim::mint("k", Duration::from_secs(30))?);
    /// let next = Claim::mint("k", Duration::from_secs(30))?;
    /// let hand_over = stranger.as_hand_over().expect("this store has it");
    /// assert_eq!(hand_over.hand_over(&next).await?, Transfer::NotHeld);
    /// # Ok(())
    /// # }
    /// ```
    async fn hand_over(&self, next: &Claim) -> Result<Transfer>;
}

/// Answers [`HandOver::hand_over`].
///
/// # Examples
///
/// ```
/// use lock_core::backend::Transfer;
///
/// fn has_next_the_key(transfer: Transfer) -> bool {
///     matches!(transfer, Transfer::Granted { .. })
/// }
/// assert!(!has_next_the_key(Transfer::Refused) && !has_next_the_key(Transfer::NotHeld));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the next owner has the key only if it was granted"]
pub enum Transfer {
    /// This owner held the key. Now `next` holds it.
    Granted {
        /// The grant to `next`.
        grant: Grant,
        /// Whether others wait for the key in the store.
        others: bool,
    },
    /// This owner held the key, which was released. `next` was undone before (law U1), so the key
    /// is free, or granted to another owner.
    Refused,
    /// This owner did not hold the key, and `next` got nothing.
    NotHeld,
}
