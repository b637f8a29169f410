//! The optional trait of stores that can be nodes of a quorum with fencing.

use async_trait::async_trait;

use super::Attempt;
use crate::error::Result;
use crate::value::FencingToken;

/// Grants with a smallest fencing token, and raises the token of a grant (law Q1).
///
/// A quorum uses it to agree on one fencing token. Implement it only for a store that is used in a
/// quorum.
///
/// # Examples
///
/// ```
/// use lock_core::LockProvider;
/// use lock_core::backend::{Attempt, Claim};
/// use lock_core::FencingToken;
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let provider = lock_memory::MemoryProvider::new();
/// let lock = provider.lock(Claim::mint("invoice/42", Duration::from_secs(30))?);
/// let node = lock.as_fencing_floor().expect("this store can");
///
/// let floor = FencingToken::new(1_000).unwrap();
/// let Attempt::Granted(grant) = node.try_acquire_above(floor).await? else { panic!("held") };
/// assert!(grant.fencing >= Some(floor));
///
/// let higher = FencingToken::new(grant.fencing.unwrap().as_u64() + 5).unwrap();
/// assert_eq!(node.raise(higher).await?, Some(higher));
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[async_trait]
pub trait FencingFloor: Send + Sync {
    /// Asks for the key as [`try_acquire`](super::Lock::try_acquire) does, for a fencing token of
    /// at least `floor`.
    ///
    /// Only a new grant gets such a token. A floor that is more than one second ahead of the clock
    /// of the store may be ignored, so that a client with a wrong clock cannot use up the numbers.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](super::Lock::try_acquire).
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
    /// use lock_core::FencingToken;
    /// use lock_core::backend::Attempt;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let lock = MemoryProvider::new().lock(Claim::mint("k", Duration::from_secs(30))?);
    /// let floor = FencingToken::new(1_000).unwrap();
    /// let node = lock.as_fencing_floor().expect("this store has it");
    /// assert!(matches!(node.try_acquire_above(floor).await?, Attempt::Granted(_)));
    /// # Ok(())
    /// # }
    /// ```
    async fn try_acquire_above(&self, floor: FencingToken) -> Result<Attempt>;

    /// Raises the fencing token of the grant to `to`, and returns the token that the grant has
    /// then.
    ///
    /// # For implementors
    ///
    /// | this owner | token of the grant | answer | effect |
    /// |---|---|---|---|
    /// | holds the key | smaller than `to` | `to` | the grant has the token `to` |
    /// | holds the key | `to` or larger | that token | none |
    /// | does not hold the key | | `None` | none |
    ///
    /// The remaining time does not change. The next grant of the key gets a token larger than `to`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) above [`FencingToken::MAX_RAISE`], so that
    /// the next grant always has a number left. Nothing changes then.
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
    /// use lock_core::FencingToken;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let lock = MemoryProvider::new().lock(Claim::mint("k", Duration::from_secs(30))?);
    /// let node = lock.as_fencing_floor().expect("this store has it");
    /// let token = FencingToken::new(1_000).unwrap();
    /// assert_eq!(node.raise(token).await?, None); // this owner does not hold the key
    /// # Ok(())
    /// # }
    /// ```
    async fn raise(&self, to: FencingToken) -> Result<Option<FencingToken>>;
}
