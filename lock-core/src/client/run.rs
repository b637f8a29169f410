//! Work that runs while a lock is held.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::acquire::Acquire;
use super::lease::Lease;
use crate::error::Result;
use crate::loss::Loss;

impl Acquire {
    /// Lets the work of [`run`](Acquire::run) go on for a while after it has to stop, to clean up.
    ///
    /// The work learns that it has to stop from [`Lease::lost`], [`Lease::cancellation_token`], or
    /// its [own token](Acquire::cancelled_by). It is dropped when the grace is over. The default is
    /// no grace.
    ///
    /// | the work has to stop because | longest grace | result if it ends in time |
    /// |---|---|---|
    /// | the lock will expire, or renewing was given up | until the lease may have ended: a [stop margin](crate::ClientBuilder::stop_margin), at least | [`ErrorKind::Lost`](crate::ErrorKind::Lost) |
    /// | another owner has the lock, or it was held for its [longest time](Acquire::max_hold) | none | |
    /// | the token was cancelled | `limit`, and the lock is renewed meanwhile | that of the work |
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::CancellationToken;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let shutdown = CancellationToken::new();
    /// let stop = shutdown.clone();
    /// # stop.cancel();
    /// let pages = locks
    ///     .lock("report")
    ///     .grace(Duration::from_secs(2))
    ///     .run(|lease| async move {
    ///         let (lost, mut pages) = (lease.cancellation_token(), 0);
    ///         while !lost.is_cancelled() && !stop.is_cancelled() {
    ///             pages += 1; // … write a page …
    ///         }
    ///         pages // … after closing the file
    ///     })
    ///     .await?;
    /// println!("{pages} pages");
    /// # Ok(())
    /// # }
    /// ```
    pub fn grace(mut self, limit: Duration) -> Self {
        self.grace = limit;
        self
    }

    /// Acquires the lock, runs `work` while it is held, and releases it.
    ///
    /// The lease is renewed while the work runs, unless [`no_renewal`](Acquire::no_renewal) is set.
    ///
    /// | event | effect |
    /// |---|---|
    /// | the lock is lost | the work is dropped at its next await point, after its [`grace`](Acquire::grace) |
    /// | the [token](Acquire::cancelled_by) is cancelled | the same, and the lock is released |
    /// | the work panics | the lock is released, and the panic continues in the caller |
    /// | the release is not confirmed | the result is returned; the release is retried in the background, and the ttl frees the key at the latest |
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Acquire::acquire), [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when the work was stopped,
    /// and [`ErrorKind::Lost`](crate::ErrorKind::Lost) when the lock was lost before the work was done. Sometimes only the [release](super::LockGuard::release) detects the loss.
    /// The result of the work is dropped then, because another holder may have worked at the same
    /// time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the work and releases the lock in the background.
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
    /// let total = locks
    ///     .lock("invoice/42")
    ///     .run(|lease| async move {
    ///         println!("writing with fencing token {:?}", lease.fencing_token());
    ///         42
    ///     })
    ///     .await?;
    /// assert_eq!(total, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn run<W, F>(self, work: W) -> Result<F::Output>
    where
        W: FnOnce(Lease) -> F,
        F: Future,
    {
        let (grace, cancelled) = (self.grace, self.cancelled.clone());
        let plan = self.plan(true)?;
        let span = tracing::debug_span!("run", key = %plan.key, provider = %plan.provider());
        async {
            let guard = plan.acquire().await?;
            let lease = guard.lease();
            let stopped = until_stopped(work(guard.lease()), &lease, cancelled, grace).await;
            let Some(output) = stopped else {
                if lease.is_held() {
                    // Awaited, because the process may be about to end.
                    let _ = guard.release().await;
                    return Err(lease.cancelled_error());
                }
                return Err(lease.lost_error());
            };
            if let Err(error) = guard.release().await {
                if error.is_lost() {
                    return Err(error);
                }
                tracing::debug!(%error, "release unconfirmed, retrying in the background");
            }
            Ok(output)
        }
        .instrument(span)
        .await
    }
}

/// Why work has to stop.
enum Stop {
    Lost(Option<Loss>),
    Cancelled,
}

/// Polls the work until it is done, or until it has to stop and its grace is over. Returns its
/// output, if the lock was held until then.
async fn until_stopped<F: Future>(
    work: F,
    lease: &Lease,
    cancelled: Option<CancellationToken>,
    grace: Duration,
) -> Option<F::Output> {
    let mut work = pin!(work);
    let stop = tokio::select! {
        biased;
        // Work that never yields can outlive its lease, so the clock decides.
        output = &mut work => return lease.is_held().then_some(output),
        loss = lease.lost() => Stop::Lost(loss),
        () = cancellation(cancelled) => Stop::Cancelled,
    };
    let (clock, hold) = (&lease.hold.engine.clock, &lease.hold);
    let limit = clock.now().after(grace);
    match stop {
        Stop::Lost(Some(Loss::NotYours)) => None,
        Stop::Lost(_) => {
            tokio::select! {
                biased;
                () = clock.sleep_until(limit.min(hold.deadline())) => None,
                _ = work => None,
            }
        }
        Stop::Cancelled => {
            tokio::select! {
                biased;
                output = work => lease.is_held().then_some(output),
                _ = lease.lost() => None,
                () = clock.sleep_until(limit) => None,
            }
        }
    }
}

async fn cancellation(token: Option<CancellationToken>) {
    match token {
        Some(token) => token.cancelled_owned().await,
        None => std::future::pending().await,
    }
}
