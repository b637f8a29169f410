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
    /// Gives the work of [`run`](Acquire::run) time to clean up once it has to stop.
    ///
    /// The work is notified by [`Lease::lost`], [`Lease::cancellation_token`], or its
    /// [own token](Acquire::cancelled_by). It is dropped when the grace is over. The default is no
    /// grace.
    ///
    /// | why the work has to stop | its grace | result if it ends in time |
    /// |---|---|---|
    /// | the lease will end, or renewing was [given up](Acquire::max_renewal_failures) | the shorter of `limit` and the time until the lease may have ended | [`ErrorKind::Lost`](crate::ErrorKind::Lost) |
    /// | another owner has the lock | none | [`ErrorKind::Lost`](crate::ErrorKind::Lost) |
    /// | the lock was held for its [longest time](Acquire::max_hold) | none | [`ErrorKind::Lost`](crate::ErrorKind::Lost) |
    /// | the token was cancelled | `limit`; a lease that is renewed is renewed meanwhile | that of the work |
    ///
    /// A lease that is about to end has its [stop margin](crate::ClientBuilder::stop_margin) left: by
    /// default a tenth of the ttl, and at most 5 seconds. For a longer grace, set a longer stop
    /// margin.
    ///
    /// Without a grace, the work is dropped at its next await point. After that, only the
    /// destructors of its values run.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::CancellationToken;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let shutdown = CancellationToken::new();
    /// let stop = shutdown.clone();
    /// let work = locks.lock("report").grace(Duration::from_secs(2)).cancelled_by(shutdown.clone());
    /// let work = work.run(async |lease| {
    ///     let (lost, mut pages) = (lease.cancellation_token(), 0);
    ///     while !lost.is_cancelled() && !stop.is_cancelled() {
    ///         tokio::time::sleep(Duration::from_millis(100)).await; // … write a page …
    ///         pages += 1;
    ///     }
    ///     pages // … after the file was closed
    /// });
    /// # tokio::spawn(async move {
    /// #     tokio::time::sleep(Duration::from_secs(60)).await;
    /// #     shutdown.cancel(); // the service shuts down
    /// # });
    /// println!("{} pages", work.await?);
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
    /// | the [token](Acquire::cancelled_by) is cancelled | the work is dropped in the same way, and the lock is released |
    /// | the work panics | the lock is released, and the panic continues in the caller |
    /// | the release is not confirmed | the result is returned; the release is retried in the background, and the ttl frees the key at the latest |
    ///
    /// **Tasks that the work has spawned continue after it is dropped**, including blocking ones.
    /// Have them send the fencing token with every write. The resource then refuses them once
    /// another owner has written.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | those of [`acquire`](Acquire::acquire) | the lock was not acquired, and the work did not begin |
    /// | [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) | the work was stopped by its token |
    /// | [`ErrorKind::Lost`](crate::ErrorKind::Lost) | the lock was lost before the work was done; another holder may have worked at the same time |
    ///
    /// Sometimes only the [release](super::LockGuard::release) detects the loss. The output of the
    /// work is then dropped.
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
                if !lease.is_held() {
                    return Err(lease.lost_error());
                }
                // Awaited, because the process may be about to end.
                return Err(match guard.release().await {
                    Err(error) if error.is_lost() => error,
                    _ => lease.cancelled_error(),
                });
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

/// Polls the work until it is done, or until it has to stop and its grace is over. Returns its
/// output, if the lock was held until then.
async fn until_stopped<F: Future>(
    work: F,
    lease: &Lease,
    cancelled: Option<CancellationToken>,
    grace: Duration,
) -> Option<F::Output> {
    let mut work = pin!(work);
    let (hold, clock) = (&lease.hold, &lease.hold.engine.clock);
    let (loss, limit) = tokio::select! {
        biased;
        // Work that never yields can outlive its lease, so the clock decides.
        output = &mut work => return lease.is_held().then_some(output),
        loss = lease.lost() => (loss, clock.now().after(grace)),
        () = cancellation(cancelled) => {
            let limit = clock.now().after(grace);
            tokio::select! {
                biased;
                output = &mut work => return lease.is_held().then_some(output),
                loss = lease.lost() => (loss, limit),
                () = clock.sleep_until(limit) => return None,
            }
        }
    };
    if !matches!(loss, Some(Loss::NotYours)) {
        tokio::select! {
            biased;
            () = clock.sleep_until(limit.min(hold.deadline())) => {}
            _ = work => {}
        }
    }
    None
}

async fn cancellation(token: Option<CancellationToken>) {
    match token {
        Some(token) => token.cancelled_owned().await,
        None => std::future::pending().await,
    }
}
