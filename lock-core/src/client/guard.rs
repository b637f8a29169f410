//! The guard that owns a held lock.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use super::lease::Lease;
use crate::error::{Error, Operation, Result};
use crate::holding::{Hold, usable_ttl};
use crate::value::OwnerToken;

/// A held lock. Whoever has the guard is the holder; dropping it releases the lock.
///
/// It is `Send + Sync + 'static`: ownership is in the value, not in a thread or task. It derefs to
/// its [`Lease`], where the questions are (`is_held`, `check`, `lost`, `fencing_token` …).
///
/// # Drop
///
/// A dropped guard releases in the background, on the runtime it was acquired on, with several tries
/// and a time limit. It never blocks and never panics. If that runtime has shut down, the key is
/// free after its ttl at the latest. Prefer [`release`](LockGuard::release), which reports whether
/// the lock had been held until then.
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
    /// Dropping the guard releases the lock.
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

    /// Renews by hand: the lease ends `ttl` from now, sooner or later than before (law T2).
    ///
    /// A renewal task of this guard goes on with the new ttl.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost) when the lock is over. Any other kind means *unknown*: the lock is still
    /// held until its deadline, and renewing may be tried again (law G3).
    ///
    /// # Cancel safety
    ///
    /// A dropped renewal may have taken effect or do so within a minute. For so long the guard believes
    /// no more than the shorter of the two times.
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
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(5)).acquire().await?;
    /// guard.renew(Duration::from_secs(60)).await?; // the next step takes longer
    /// guard.check(Duration::from_secs(50))?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn renew(&self, ttl: Duration) -> Result<()> {
        let hold = &self.lease.hold;
        let explain = |error| hold.engine.explain(error, Operation::Renew, self.key());
        let ttl = usable_ttl(ttl).map_err(explain)?;
        hold.engine.provider.info().check_ttl(ttl).map_err(explain)?;
        hold.check_margin(ttl).map_err(explain)?;
        hold.renew(Some(ttl)).await
    }

    /// Releases the lock, and confirms that it had been held until then.
    ///
    /// From the first call on the lock counts as given back: `is_held` is false and nothing is
    /// renewed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost) when the lock was lost before: **another holder may have worked at the
    /// same time, so what was done under the lock needs a check.** That is so if the loss had been
    /// noticed, or if the backend answers that this owner does not hold the key. Somebody else's
    /// lock is never touched. There is one exception: if an earlier release had no answer (or if
    /// the driver may have [sent it twice](crate::backend::ProviderInfo::with_resending)) and the lease was
    /// still running when the first one left, that one may have freed the key, and the release
    /// succeeds.
    ///
    /// Any other kind means that the release was not confirmed. The error then has the
    /// [guard](ReleaseError::into_guard), so that the release can be tried again; dropping the error
    /// does so in the background.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the release goes on in the background (law G4).
    ///
    /// # Examples
    ///
    /// ```
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// use lock_core::LockClient;
    ///
    /// let store = lock_memory::MemoryProvider::new();
    /// let guard = LockClient::new(store.clone()).lock("invoice/42").acquire().await?;
    /// store.expire_now(guard.key()); // for instance because the process was paused
    /// assert!(guard.release().await.unwrap_err().is_lost());
    /// # Ok::<(), lock_core::Error>(()) }).unwrap();
    /// ```
    pub async fn release(mut self) -> Result<(), ReleaseError> {
        let released = self.lease.hold.release().await;
        self.armed = !self.lease.hold.is_given_back();
        match released {
            Ok(()) => Ok(()),
            // A lost lock cannot be released: what is left of it is seen to in the background.
            Err(error) if error.is_lost() => Err(ReleaseError { guard: None, error }),
            Err(error) => Err(ReleaseError { guard: Some(Box::new(self)), error }),
        }
    }

    /// Gives up the guard but not the lock, and returns the token to resume it with.
    ///
    /// Renewing stops; the lock stays until its ttl ends or
    /// [`LockClient::resume`](crate::LockClient::resume), in this or another process, takes it over.
    /// A renewal under way is waited for, within the time limit of a request. If renewals have gone
    /// unanswered, they may still land: then resume with a ttl no longer than theirs.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the guard, which releases the lock.
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
    /// assert!(locks.lock("upload/7").try_acquire().await?.is_none());
    /// locks.resume("upload/7", token).await?.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn detach(mut self) -> OwnerToken {
        self.lease.hold.settle_and_end().await;
        self.armed = false;
        *self.owner_token()
    }

    /// Gives up the guard but not the lock: the key stays taken until its ttl ends.
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
    /// assert!(locks.lock("mail/digest").try_acquire().await?.is_none());
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget(mut self) {
        self.armed = false;
        self.lease.hold.leave_to_its_ttl();
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
        // A lock that was lost is released as well: it may be ours again through a late request.
        if self.armed {
            self.lease.hold.release_in_background();
        }
    }
}

/// Says that a lock had been lost before its release, or that the release was not confirmed.
///
/// It turns into a plain [`Error`] with `?`. A guard in it is then dropped, and goes on releasing in
/// the background.
///
/// # Examples
///
/// ```
/// use lock_core::{LockGuard, Result};
///
/// async fn done(guard: LockGuard) -> Result<()> {
///     match guard.release().await {
///         Ok(()) => Ok(()),
///         Err(failed) if failed.is_lost() => Err(failed.into()), // check what was written
///         Err(failed) if failed.error().is_denied() => Err(failed.into()), // keep trying behind
///         Err(failed) => match failed.into_guard() {
///             Some(guard) => Ok(guard.release().await?), // once more
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
    /// Returns what went wrong.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// Returns whether the lock had been lost before the release.
    pub fn is_lost(&self) -> bool {
        self.error.is_lost()
    }

    /// Returns the guard, to release again; `None` if the lock [was lost](Self::is_lost).
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
