//! The loss of a held lock, and the risk of it.

use std::fmt;

use crate::error::Error;

/// The reason why a held lock was lost.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// use lock_core::loss::Loss;
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> lock_core::Result<()> {
///
/// # let store = MemoryProvider::new();
/// # let locks = LockClient::new(store.clone());
/// let guard = locks.lock("invoice/42").acquire().await?;
/// store.take_over(guard.key())?; // an operator, for instance
/// let _ = guard.renew_to(std::time::Duration::from_secs(30)).await;
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
    /// The backend answered that this owner does not hold the key.
    ///
    /// The lease has expired, or another process has deleted or taken over the key.
    NotYours,
    /// No renewal was confirmed in time, so the lease may have ended.
    #[non_exhaustive]
    Expired {
        /// The error of the last renewal, if it failed.
        cause: Option<Error>,
    },
    /// The lock was held for the longest time that the caller allows.
    MaxHold,
    /// The number of failed renewals in a row has reached the
    /// [limit of the caller](crate::Acquire::max_renewal_failures).
    ///
    /// The lease may not have ended yet.
    #[non_exhaustive]
    GaveUp {
        /// The number of renewals that have failed in a row.
        failures: u32,
        /// The error of the last one.
        cause: Error,
    },
}

impl Loss {
    /// Returns the name of the reason, for the label of a metric.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::loss::Loss;
    ///
    /// assert_eq!(Loss::NotYours.name(), "not_yours");
    /// ```
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotYours => "not_yours",
            Self::Expired { .. } => "expired",
            Self::MaxHold => "max_hold",
            Self::GaveUp { .. } => "gave_up",
        }
    }

    /// Returns the error that caused the loss, if there is one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_memory::{Fault, Faults, Verb};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
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
            Self::GaveUp { cause, .. } => Some(cause),
            Self::NotYours | Self::MaxHold => None,
        }
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::GaveUp { failures, .. } = self {
            return write!(
                f,
                "{failures} renewals in a row have failed, as many as the caller allows"
            );
        }
        f.write_str(match self {
            Self::NotYours => "the backend answered that this owner no longer holds the lock",
            Self::Expired { cause: None } => "the lease was not renewed in time",
            Self::Expired { cause: Some(_) } => "the lease could not be renewed in time",
            Self::MaxHold => "the lock was held for the longest time that the caller allows",
            Self::GaveUp { .. } => "too many renewals in a row have failed",
        })
    }
}

/// Reports that renewals fail while the lock is still held.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// # use std::time::Duration;
/// use lock_memory::{Fault, Faults, Verb};
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> lock_core::Result<()> {
///
/// # let faults = Faults::new();
/// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
/// let guard = locks.lock("invoice/42").acquire().await?;
/// faults.always(Verb::Renew, Fault::unavailable());
/// assert!(guard.renew_to(Duration::from_secs(30)).await.is_err());
/// let risk = guard.at_risk().await.expect("the lock is still held");
/// assert_eq!(risk.failures, 1);
/// println!("take on no new work: {}", risk.cause);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AtRisk {
    /// The number of renewals that have failed in a row.
    pub failures: u32,
    /// The error of the last renewal.
    pub cause: Error,
}
