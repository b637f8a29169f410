//! What can become of a held lock against its holder's wish.

use std::fmt;

use crate::error::Error;

/// Why a held lock is gone.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// use lock_core::loss::Loss;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
///
/// # let store = MemoryProvider::new();
/// # let locks = LockClient::new(store.clone());
/// let guard = locks.lock("invoice/42").acquire().await?;
/// store.take_over(guard.key())?; // an operator, for instance
/// let _ = guard.renew(std::time::Duration::from_secs(30)).await;
/// match guard.lost().await {
///     Some(Loss::NotYours) => println!("another owner has the key"),
///     other => panic!("{other:?}"),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Loss {
    /// The backend said that this owner does not hold the key: expired, deleted, or taken over.
    NotYours,
    /// The lease could not be confirmed in time, so it must be taken for ended.
    Expired {
        /// Why the last renewal failed, if one did.
        cause: Option<Error>,
    },
    /// The lock was held for as long as the caller had allowed.
    MaxHold,
}

impl Loss {
    /// Returns the error behind the loss, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_memory::{Fault, Faults, Verb};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    /// let guard = locks.lock("k").ttl(Duration::from_millis(90)).auto_renew().acquire().await?;
    /// faults.always(Verb::Renew, Fault::unavailable());
    /// let loss = guard.lost().await.expect("no renewal succeeds");
    /// assert!(loss.cause().is_some_and(|cause| cause.is_unavailable()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn cause(&self) -> Option<&Error> {
        match self {
            Self::Expired { cause } => cause.as_ref(),
            Self::NotYours | Self::MaxHold => None,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotYours => "the backend says that this owner does not hold the lock any more",
            Self::Expired { cause: None } => "the lease was not renewed in time",
            Self::Expired { cause: Some(_) } => "the lease could not be renewed in time",
            Self::MaxHold => "the lock was held for the longest time allowed",
        })
    }
}

/// Says that renewing fails at present; the lock is still held.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// # use std::time::Duration;
/// use lock_memory::{Fault, Faults, Verb};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
///
/// # let faults = Faults::new();
/// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
/// let guard = locks.lock("invoice/42").acquire().await?;
/// faults.always(Verb::Renew, Fault::unavailable());
/// assert!(guard.renew(Duration::from_secs(30)).await.is_err());
/// let risk = guard.at_risk().await.expect("the lock is still held");
/// assert_eq!(risk.failures, 1);
/// println!("take on no new work: {}", risk.cause);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AtRisk {
    /// How many renewals have failed in a row.
    pub failures: u32,
    /// Why the last one failed.
    pub cause: Error,
}
