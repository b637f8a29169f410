//! The optional trait of stores that release and grant in one step.

use async_trait::async_trait;

use super::{Claim, Grant};
use crate::error::Result;

/// Releases a key and grants it to another claim in one request.
///
/// Core uses it if the claim that is next waits in the same client: one request is then both a
/// release and an acquisition. Whoever queues in the store is passed over; core bounds how often
/// that happens ([`Fairness::Turns`](crate::Fairness::Turns)).
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
    /// | held by this owner | [`Granted`](Transfer::Granted) | a grant to `next` like any other: its own ttl, a fencing token larger than every earlier one (laws T1, F1); a place of `next` in the queue is given up |
    /// | held by this owner, and `next` has a tombstone | [`Refused`](Transfer::Refused) | free, as by a release |
    /// | held by `next` | [`Granted`](Transfer::Granted) | the request is a repeated one: the same grant, whose lease ends `next`'s ttl from now, or as late as before if that is later |
    /// | neither's | [`NotHeld`](Transfer::NotHeld) | this owner is remembered, as by a release (law U1) |
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
    /// This owner held the key. Now `next` does.
    Granted {
        /// What `next` was granted.
        grant: Grant,
        /// Others wait for the key in the store.
        others: bool,
    },
    /// This owner held the key. Now it is free or another's, as `next` was undone before (law U1).
    Refused,
    /// This owner did not hold the key, and `next` got nothing.
    NotHeld,
}
