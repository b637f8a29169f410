//! A view of a held lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use tokio_util::sync::CancellationToken;

use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Result};
use crate::holding::Hold;
use crate::loss::{AtRisk, Loss};
use crate::observe::HoldOutcome;
use crate::value::{FencingToken, LockKey, Metadata, OwnerFingerprint, OwnerToken};

/// Views a held lock, and cannot release it.
///
/// **A check does not protect the write that follows.** The process may be paused in between for
/// longer than the ttl. Send the [`FencingToken`] with the write, and have the resource check it.
///
/// A lease is cheap to clone and to pass around. A [`LockGuard`](crate::LockGuard) derefs to its
/// lease, and [`Acquire::run`](crate::Acquire::run) passes one to the work.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// # use std::time::{Duration, SystemTime};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
/// # let locks = LockClient::new(MemoryProvider::new());
///
/// let guard = locks.lock("invoice/42").metadata("billing").acquire().await?;
/// let lease = guard.lease();
/// assert_eq!(lease.key().as_str(), "invoice/42");
/// assert_eq!(lease.owner(), lease.owner_token().fingerprint());
/// assert!(lease.fencing_token().is_some() && lease.metadata().is_some());
/// guard.release().await?;
/// assert!(!lease.is_held()); // a lease outlives its guard, the lock does not
/// # Ok(())
/// # }
/// ```
pub struct Lease {
    pub(super) hold: Arc<Hold>,
    /// How many failed renewals [`at_risk`](Self::at_risk) has reported. Each clone counts its own.
    reported: AtomicU64,
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        let reported = AtomicU64::new(self.reported.load(Ordering::Relaxed));
        Self { hold: Arc::clone(&self.hold), reported }
    }
}

impl Lease {
    pub(super) fn new(hold: Arc<Hold>) -> Self {
        Self { hold, reported: AtomicU64::new(0) }
    }

    /// Returns the key of the lock.
    pub fn key(&self) -> &LockKey {
        self.hold.bound.claim.key()
    }

    /// Returns the identity of this acquisition, which is a bearer secret.
    pub fn owner_token(&self) -> &OwnerToken {
        self.hold.bound.claim.owner_token()
    }

    /// Returns a hash of the owner token, which may be shown, logged and sent to the resource.
    pub fn owner(&self) -> OwnerFingerprint {
        self.owner_token().fingerprint()
    }

    /// Returns the number of the grant, or `None` if the provider has no fencing.
    pub fn fencing_token(&self) -> Option<FencingToken> {
        self.hold.fencing
    }

    /// Returns the note beside the lock, which may be empty.
    ///
    /// `None` if the lock was [resumed](crate::Acquire::resume), because its note is only in the
    /// store.
    pub fn metadata(&self) -> Option<&Metadata> {
        (!self.hold.is_resumed()).then(|| self.hold.bound.claim.metadata())
    }

    /// Returns whether the lock is certainly still held, by the clock and without I/O (law G1).
    ///
    /// It turns false before the backend may grant the key to another owner. That also holds after
    /// the machine was suspended.
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
    /// for step in ["debit", "credit"] {
    ///     if !guard.is_held() {
    ///         break; // another holder may be at work
    ///     }
    ///     println!("{step}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn is_held(&self) -> bool {
        !self.hold.left().is_zero()
    }

    /// Checks that the lock is certainly held for at least `min_left` from now (law G1).
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`](crate::ErrorKind::Lost) when the lock is lost or given back, or when
    /// less than `min_left` is left. The message says which.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::{Duration, SystemTime};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(30)).acquire().await?;
    /// guard.check(Duration::from_secs(5))?; // the write takes up to five seconds
    /// assert!(guard.check(Duration::from_secs(60)).unwrap_err().is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub fn check(&self, min_left: Duration) -> Result<()> {
        let left = self.hold.left();
        if left.is_zero() || left < min_left {
            return Err(self.lost_error());
        }
        Ok(())
    }

    /// Makes the error of an operation for which the lock is over, or has too little time left.
    pub(crate) fn lost_error(&self) -> Error {
        self.hold.stop_if_due();
        self.hold.lost_error()
    }

    /// Makes the error of work that was stopped by its caller.
    pub(super) fn cancelled_error(&self) -> Error {
        let engine = &self.hold.engine;
        let error = Error::new(ErrorKind::Cancelled, "the caller cancelled the work");
        error.about(self.key().shared(), engine.provider.info().shared_name())
    }

    /// Returns the moment until which the lock is certainly held, on the client's clock.
    ///
    /// A renewal moves it. `None` as soon as [`is_held`](Self::is_held) is false.
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
    /// let until = guard.held_until().expect("it is held");
    /// assert!(until > locks.clock().now());
    /// # Ok(())
    /// # }
    /// ```
    pub fn held_until(&self) -> Option<Moment> {
        self.is_held().then(|| self.hold.deadline())
    }

    /// Returns the moment since which the lock has been held, on the client's clock.
    ///
    /// The clock is read just before the request that acquires or resumes the lock is sent.
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
    /// println!("held for {:?}", locks.clock().now().since(guard.held_since()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn held_since(&self) -> Moment {
        self.hold.since()
    }

    /// Returns [`held_since`](Self::held_since) as a time of day, for display.
    ///
    /// **Do not base decisions on it.** The system clock can be wrong, and can be set back.
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
    /// println!("held since {}", humantime::format_rfc3339(guard.acquired_at()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquired_at(&self) -> SystemTime {
        let held_for = self.hold.now().since(self.hold.since());
        SystemTime::now().checked_sub(held_for).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Returns [`held_until`](Self::held_until) as a time of day, for display.
    ///
    /// **Do not base decisions on it.** The system clock can be wrong, and can be set back. Use
    /// [`check`](Self::check) or [`lost`](Self::lost) instead.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::{Duration, SystemTime};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(30)).acquire().await?;
    /// let until = guard.expires_at().expect("it is held");
    /// assert!(until <= SystemTime::now() + Duration::from_secs(30));
    /// # Ok(())
    /// # }
    /// ```
    pub fn expires_at(&self) -> Option<SystemTime> {
        let left = self.hold.left();
        if left.is_zero() { None } else { SystemTime::now().checked_add(left) }
    }

    /// Returns the ttl of the last grant or renewal that the backend has confirmed.
    pub fn ttl(&self) -> Duration {
        self.hold.ttl().as_duration()
    }

    /// Asks the backend how long the lease has left.
    ///
    /// Returns `None` if this owner no longer holds the key, or if the backend does not report the
    /// time.
    ///
    /// # Errors
    ///
    /// As [`LockClient::inspect`](crate::LockClient::inspect).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the answer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::{Duration, SystemTime};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// let store = MemoryProvider::new();
    /// let locks = LockClient::new(store.clone());
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(30)).acquire().await?;
    /// assert!(guard.remaining().await? > Some(Duration::from_secs(25)));
    /// store.expire_now(guard.key());
    /// assert_eq!(guard.remaining().await?, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn remaining(&self) -> Result<Option<Duration>> {
        let engine = &self.hold.engine;
        let occupancy = engine.inspect(self.key()).await?;
        let ours = occupancy.holders().iter().find(|holder| holder.owner() == self.owner());
        Ok(ours.and_then(|holder| holder.remaining()))
    }

    /// Waits until the lock is lost, and returns the reason, or `None` when the holder gave it
    /// back.
    ///
    /// It resolves *before* the lease can end at the backend (law G2), by the [stop
    /// margin](crate::ClientBuilder::stop_margin). If the loss has happened already, it resolves at
    /// once.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing. A later call returns the same.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::{Duration, SystemTime};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_millis(50)).acquire().await?;
    /// tokio::select! {
    ///     _ = tokio::time::sleep(Duration::from_secs(60)) => println!("the work is done"),
    ///     Some(loss) = guard.lost() => println!("stopped: {loss}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn lost(&self) -> Option<Loss> {
        match self.hold.ended().await {
            HoldOutcome::Lost(loss) => Some(loss),
            HoldOutcome::GivenBack | HoldOutcome::Detached | HoldOutcome::Forgotten => None,
        }
    }

    /// Waits until a renewal has failed, or returns `None` when the lock is over.
    ///
    /// The lock is still held then, and renewing goes on (law G3). This is a good moment to stop
    /// taking on new work. Each failure is reported once, so the next call waits for the next
    /// failure. A failure is not reported once a later renewal has succeeded.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::{Duration, SystemTime};
    /// use lock_memory::{Fault, Faults, Verb};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let faults = Faults::new();
    /// let locks = LockClient::new(faults.around(MemoryProvider::new()));
    /// let guard = locks.lock("k").ttl(Duration::from_secs(1)).auto_renew().acquire().await?;
    /// faults.next(Verb::Renew, 1, Fault::unavailable());
    /// let risk = guard.at_risk().await.expect("a renewal failed");
    /// assert!(risk.cause.is_unavailable() && guard.is_held());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn at_risk(&self) -> Option<AtRisk> {
        let (risk, failures) = self.hold.risk(self.reported.load(Ordering::Relaxed)).await?;
        self.reported.store(failures, Ordering::Relaxed);
        Some(risk)
    }

    /// Returns a token that is cancelled when the lock is lost, but not when it is released.
    ///
    /// Pass `child_token`s of it to your tasks, because every task can cancel the token that it
    /// has. The first call starts a task on the current runtime. That task ends with the lock.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::{Duration, SystemTime};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_millis(50)).acquire().await?;
    /// let stop = guard.cancellation_token().child_token();
    /// let worker = tokio::spawn(async move { stop.cancelled().await });
    /// worker.await.expect("it stops when the lock is lost");
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancellation_token(&self) -> CancellationToken {
        self.hold.cancellation()
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hold.fmt(f)
    }
}
