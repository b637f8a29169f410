//! The guard that owns a held lock.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::lease::Lease;
use crate::error::{Error, Operation, Result};
use crate::holding::{Hold, keep_alive};
use crate::observe::HoldOutcome;
use crate::value::OwnerToken;

/// Owns a held lock, and releases it when dropped.
///
/// The guard is `Send + Sync + 'static`: the value owns the lock, not a thread or task. It derefs
/// to its [`Lease`], which has the methods that inspect the lock: `is_held`, `check`, `lost`,
/// `fencing_token` and others.
///
/// # Drop
///
/// Prefer [`release`](LockGuard::release), which reports whether the lock had been held until then.
///
/// A dropped guard releases in the background, on the runtime on which it was acquired. It retries
/// for a limited time. It never blocks and never panics. If that runtime has shut down, the ttl
/// frees the key.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use lock_core::LockClient;
/// use std::time::Duration;
///
/// let locks = LockClient::new(lock_memory::MemoryProvider::new());
/// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(30)).acquire().await?;
/// guard.check(Duration::from_secs(1))?; // at least a second is certainly left
/// println!("writing with token {:?}", guard.fencing_token());
/// guard.release().await?; // fails if the lock had been lost
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[must_use = "the lock is released as soon as the guard is dropped"]
pub struct LockGuard {
    lease: Lease,
    /// Whether dropping the guard releases the lock. False once nothing is left to release.
    armed: bool,
}

impl LockGuard {
    pub(crate) fn new(hold: Arc<Hold>) -> Self {
        Self { lease: Lease::new(hold), armed: true }
    }

    /// Returns a view of the lock that can be cloned and passed around.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("invoice/42").acquire().await?;
    /// let lease = guard.lease();
    /// let task = tokio::spawn(async move { lease.is_held() });
    /// assert!(task.await.expect("the task ends"));
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lease(&self) -> Lease {
        self.lease.clone()
    }

    /// Renews the lease for another [ttl](Lease::ttl).
    ///
    /// Errors and cancel safety are those of [`renew_to`](Self::renew_to).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("invoice/42").acquire().await?;
    /// for page in 1..=3 {
    ///     println!("page {page}");
    ///     guard.renew().await?; // a whole ttl for the next page
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn renew(&self) -> Result<()> {
        self.lease.hold.renew(None).await
    }

    /// Renews the lease, which then ends `ttl` from now (law T2).
    ///
    /// That may be sooner or later than before. Automatic renewals go on with the new ttl.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | [`ErrorKind::Lost`](crate::ErrorKind::Lost) | the lock was lost, or given back |
    /// | [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) | the ttl is out of range; nothing was sent |
    /// | any other | the outcome is unknown: the lock is held until its deadline, and the renewal can be tried again (law G3) |
    ///
    /// # Cancel safety
    ///
    /// A dropped renewal may have taken effect, or may do so within a minute. During that minute
    /// the guard relies on the shorter of the two ttls.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(5)).acquire().await?;
    /// guard.renew_to(Duration::from_secs(60)).await?; // the next step takes longer
    /// guard.check(Duration::from_secs(50))?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn renew_to(&self, ttl: Duration) -> Result<()> {
        let hold = &self.lease.hold;
        let explain = |error| hold.engine.explain(error, Operation::Renew, self.key());
        let margins = hold.engine.margins;
        let ttl = margins.usable_ttl(ttl).map_err(explain)?;
        hold.engine.provider.info().check_ttl(ttl).map_err(explain)?;
        margins.usable_part(ttl).map_err(explain)?;
        hold.renew(Some(ttl)).await
    }

    /// Begins to renew the lease in the background, until the lock is released or lost.
    ///
    /// The renewals are those of [`Acquire::auto_renew`](crate::Acquire::auto_renew), with the
    /// settings of the acquisition. The call has no effect if the lease is already being renewed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("k").ttl(Duration::from_millis(90)).acquire().await?;
    /// // … it turns out that there is much to do …
    /// guard.auto_renew();
    /// tokio::time::sleep(Duration::from_millis(180)).await; // two ttls later
    /// assert!(guard.is_held());
    /// # Ok(())
    /// # }
    /// ```
    pub fn auto_renew(&self) {
        let hold = &self.lease.hold;
        if hold.claim_auto_renewal() {
            hold.runtime.spawn(keep_alive(Arc::clone(hold)));
        }
    }

    /// Releases the lock, and confirms that it had been held until then.
    ///
    /// The lock counts as given back from the first call on: `is_held` is false, and nothing is
    /// renewed.
    ///
    /// # Errors
    ///
    /// **[`ErrorKind::Lost`](crate::ErrorKind::Lost): another holder may have worked at the same
    /// time.** Check what was done under the lock. The lock of another owner is never touched.
    ///
    /// Any other kind means that the release was not confirmed. It is then retried in the
    /// background. [`release_or_keep`](Self::release_or_keep) returns the guard instead.
    ///
    /// | the loss was noticed before | the backend answers | result |
    /// |---|---|---|
    /// | no | this owner held the key | `Ok` |
    /// | no | this owner did not hold the key | [`ErrorKind::Lost`](crate::ErrorKind::Lost), with one exception below |
    /// | no | an error, or nothing | that error |
    /// | yes | anything | [`ErrorKind::Lost`](crate::ErrorKind::Lost) |
    ///
    /// The exception: an earlier request of this release may have freed the key. It had no answer,
    /// or the driver may have [sent it twice](crate::backend::ProviderInfo::with_resending). If the
    /// lease was still running when the first request left, the release succeeds.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the release goes on in the background (law G4).
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::LockClient;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let store = lock_memory::MemoryProvider::new();
    /// let guard = LockClient::new(store.clone()).lock("invoice/42").acquire().await?;
    /// store.expire_now(guard.key()); // for instance because the process was paused
    /// assert!(guard.release().await.unwrap_err().is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release(mut self) -> Result<()> {
        // Dropping `self` retries what was not confirmed, and frees what a late request may take.
        self.confirm_release().await
    }

    /// Releases the lock. Unless that is complete, the guard releases it again when it is dropped.
    async fn confirm_release(&mut self) -> Result<()> {
        let released = self.lease.hold.release().await;
        self.armed = !self.lease.hold.is_given_back();
        released
    }

    /// Releases the lock as [`release`](Self::release) does, and returns the guard if the release
    /// was not confirmed.
    ///
    /// # Errors
    ///
    /// Those of [`release`](Self::release). The error contains the
    /// [guard](ReleaseError::into_guard), unless the lock was lost. If you drop the error, the
    /// release is retried in the background.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the release goes on in the background (law G4).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    /// let guard = locks.lock("invoice/42").acquire().await?;
    /// faults.next(Verb::Release, 1, Fault::unavailable());
    /// let failed = guard.release_or_keep().await.unwrap_err();
    /// let guard = failed.into_guard().expect("the lock was not lost");
    /// guard.release().await?; // once more
    /// # Ok(())
    /// # }
    /// ```
    pub async fn release_or_keep(mut self) -> Result<(), ReleaseError> {
        match self.confirm_release().await {
            Ok(()) => Ok(()),
            // A lost lock cannot be released. Dropping `self` frees what a late request may take.
            Err(error) if error.is_lost() => Err(ReleaseError { guard: None, error }),
            Err(error) => Err(ReleaseError { guard: Some(Box::new(self)), error }),
        }
    }

    /// Gives up the guard but keeps the lock, and returns the token to resume it with.
    ///
    /// Renewing stops. The lock stays held until its ttl ends, or until
    /// [`LockClient::resume`](crate::LockClient::resume) takes it over in this or another process.
    ///
    /// A renewal in flight is awaited first, for up to the time limit of a request. An unanswered
    /// renewal may still take effect later. If there was one, resume with a ttl that is no longer
    /// than that of the renewal.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the guard, which releases the lock in the background.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("upload/7").acquire().await?;
    /// let token = guard.detach().await; // still locked
    /// assert!(locks.lock("upload/7").try_acquire().await.is_err_and(|error| error.is_contended()));
    /// locks.resume("upload/7", token).await?.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn detach(mut self) -> OwnerToken {
        self.lease.hold.settle_and_end().await;
        self.armed = false;
        *self.owner_token()
    }

    /// Gives up the guard but keeps the lock, which stays held until its ttl ends.
    ///
    /// Use it to keep others away for a minimum time after the work is done.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("mail/digest").ttl(Duration::from_secs(60)).acquire().await?;
    /// // … send the mail …
    /// guard.forget(); // nobody sends another one within the minute
    /// assert!(locks.lock("mail/digest").try_acquire().await.is_err_and(|error| error.is_contended()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget(mut self) {
        self.armed = false;
        self.lease.hold.leave_to_its_ttl(HoldOutcome::Forgotten);
    }
}

impl Deref for LockGuard {
    type Target = Lease;

    fn deref(&self) -> &Lease {
        &self.lease
    }
}

impl fmt::Debug for LockGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LockGuard").field(&self.lease).finish()
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // A lost lock is released as well, because a late request may have taken it again.
        if self.armed {
            self.lease.hold.release_in_background();
        }
    }
}

/// Reports that a lock had been lost before its release, or that the release was not confirmed.
///
/// [`LockGuard::release_or_keep`] returns it. The `?` operator converts it into an [`Error`]. That
/// drops the guard, if there is one, and the release is retried in the background.
///
/// # Examples
///
/// ```
/// use lock_core::{LockGuard, Result};
///
/// async fn done(guard: LockGuard) -> Result<()> {
///     match guard.release_or_keep().await {
///         Ok(()) => Ok(()),
///         Err(failed) if failed.is_lost() => Err(failed.into()), // check what was written
///         Err(failed) if failed.error().is_denied() => Err(failed.into()), // dropped: tries again
///         Err(failed) => match failed.into_guard() {
///             Some(guard) => guard.release().await, // once more
///             None => Ok(()),
///         },
///     }
/// }
/// ```
#[derive(Debug)]
pub struct ReleaseError {
    guard: Option<Box<LockGuard>>,
    error: Error,
}

impl ReleaseError {
    /// Returns the error of the release.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns whether the lock had been lost before the release.
    pub fn is_lost(&self) -> bool {
        self.error.is_lost()
    }

    /// Returns the guard, to release it again, or `None` if the lock [was lost](Self::is_lost).
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{LockGuard, ReleaseError};
    ///
    /// async fn release_twice(guard: LockGuard) -> Result<(), ReleaseError> {
    ///     let Err(failed) = guard.release_or_keep().await else { return Ok(()) };
    ///     if failed.is_lost() {
    ///         return Err(failed);
    ///     }
    ///     match failed.into_guard() {
    ///         Some(guard) => guard.release_or_keep().await,
    ///         None => Ok(()),
    ///     }
    /// }
    /// ```
    pub fn into_guard(self) -> Option<LockGuard> {
        self.guard.map(|guard| *guard)
    }
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for ReleaseError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.error)
    }
}

impl From<ReleaseError> for Error {
    fn from(failed: ReleaseError) -> Self {
        failed.error
    }
}
