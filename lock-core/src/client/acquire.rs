//! The builder of an acquisition, and the verbs that end it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::defaults::Defaults;
use super::guard::LockGuard;
use super::lease::Lease;
use crate::acquiring::{Acquisition, Patience, Wait};
use crate::backend::{Capability, Claim};
use crate::engine::{Bound, Engine};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::fairness::Fairness;
use crate::holding::{Hold, check_margin, keep_alive, usable_ttl};
use crate::retry::RetryStrategy;
use crate::value::{LockKey, Metadata, OwnerToken, Ttl};

/// An acquisition that is being described: how long, how patient, and what to do with the lock.
///
/// Made by [`LockClient::lock`](crate::LockClient::lock); ends in one of four verbs:
/// [`acquire`](Acquire::acquire) waits, [`try_acquire`](Acquire::try_acquire) does not,
/// [`run`](Acquire::run) holds the lock around a piece of work, and [`resume`](Acquire::resume) takes
/// over a lock that is already held. Anything wrong with the description is reported there, before
/// any request.
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
/// let guard = locks
///     .lock("invoice/42")
///     .ttl(Duration::from_secs(30))
///     .wait_at_most(Duration::from_secs(5))
///     .auto_renew()
///     .acquire()
///     .await?;
/// # guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is acquired until a verb such as `acquire` is awaited"]
pub struct Acquire {
    engine: Arc<Engine>,
    defaults: Defaults,
    key: Result<LockKey>,
    owner: Option<OwnerToken>,
    metadata: Result<Metadata>,
    max_hold: Option<Duration>,
    renewing: Renewing,
    cancelled: Option<CancellationToken>,
}

/// Whether a lease is renewed while it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Renewing {
    /// `run` does, `acquire` does not.
    Unset,
    Never,
    /// Every third of the ttl, or at the interval given.
    Every(Option<Duration>),
}

impl Acquire {
    pub(super) fn new(engine: Arc<Engine>, defaults: Defaults, key: Result<LockKey>) -> Self {
        Self {
            engine,
            defaults,
            key,
            owner: None,
            metadata: Ok(Metadata::default()),
            max_hold: None,
            renewing: Renewing::Unset,
            cancelled: None,
        }
    }

    /// Sets how long the lease lasts unless it is renewed; rounded up to whole milliseconds.
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
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(30)).acquire().await?;
    /// guard.check(Duration::from_secs(25))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.defaults.ttl = ttl;
        self
    }

    /// Waits at most this long when the key is held, with a last attempt at the end (law W1).
    ///
    /// No attempt goes on for long beyond that: it may take twice as long as the backend took to
    /// answer the last one, at least 100 ms and at most a second more, or half a second more if the
    /// backend has not answered yet.
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
    /// let _held = locks.lock("invoice/42").acquire().await?;
    /// let impatient = locks.lock("invoice/42").wait_at_most(Duration::from_millis(20));
    /// assert!(impatient.acquire().await.unwrap_err().is_timed_out());
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_at_most(mut self, wait: Duration) -> Self {
        self.defaults.wait = Wait::AtMost(wait);
        self
    }

    /// Waits without limit when the key is held. A failing backend is still reported.
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
    /// // A standby waits until the leader is gone:
    /// let guard = locks.lock("leader").wait_forever().acquire().await?;
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_forever(mut self) -> Self {
        self.defaults.wait = Wait::Forever;
        self
    }

    /// Does not wait: one attempt, which may take as long as a request may.
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
    /// let _held = locks.lock("invoice/42").acquire().await?;
    /// let second = locks.lock("invoice/42").no_wait().run(|_| async { "work" }).await;
    /// assert!(second.unwrap_err().is_contended());
    /// # Ok(())
    /// # }
    /// ```
    pub fn no_wait(mut self) -> Self {
        self.defaults.wait = Wait::No;
        self
    }

    /// Sets the delays between attempts, and with their end the end of the patience.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::Backoff;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let _held = locks.lock("invoice/42").acquire().await?;
    /// let twice = Backoff::fixed(Duration::from_millis(5)).max_retries(2);
    /// let error = locks.lock("invoice/42").retry(twice).acquire().await.unwrap_err();
    /// assert!(error.is_contended() && error.to_string().contains("the retry strategy has ended"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn retry(mut self, strategy: impl RetryStrategy) -> Self {
        self.defaults.retry = Some(Arc::new(strategy));
        self
    }

    /// Chooses who gets the key next when many wait for it. Anything but [`Fairness::Race`] needs a
    /// provider with [`Capability::Queue`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::Fairness;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let guard = locks.lock("invoice/42").fairness(Fairness::Fifo).acquire().await?;
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn fairness(mut self, fairness: Fairness) -> Self {
        self.defaults.fairness = Some(fairness);
        self
    }

    /// Leaves a note for whoever inspects the key; bytes or text.
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
    /// let guard = locks.lock("invoice/42").metadata("billing@host-3").acquire().await?;
    /// let occupancy = locks.inspect("invoice/42").await?;
    /// assert_eq!(occupancy.holder().unwrap().metadata().to_string(), "billing@host-3");
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn metadata<M>(mut self, metadata: M) -> Self
    where
        M: TryInto<Metadata>,
        Error: From<M::Error>,
    {
        self.metadata = metadata.try_into().map_err(Error::from);
        self
    }

    /// Acquires under this token rather than a fresh one, so that it can be known beforehand.
    ///
    /// A token identifies *one* acquisition, whatever comes of it: never use it for another. Two at a
    /// time are the same owner, and the undo of the first may free the second.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::OwnerToken;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let token = OwnerToken::mint()?; // written down before the first request
    /// let guard = locks.lock("upload/7").owner_token(token).acquire().await?;
    /// assert_eq!(*guard.owner_token(), token);
    /// # Ok(())
    /// # }
    /// ```
    pub fn owner_token(mut self, token: OwnerToken) -> Self {
        self.owner = Some(token);
        self
    }

    /// Declares the lock lost when it has been held this long, however often it was renewed.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::loss::Loss;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let limit = Duration::from_millis(20);
    /// let guard = locks.lock("invoice/42").auto_renew().max_hold(limit).acquire().await?;
    /// assert!(matches!(guard.lost().await, Some(Loss::MaxHold)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_hold(mut self, limit: Duration) -> Self {
        self.max_hold = Some(limit);
        self
    }

    /// Renews the lease while it is held, every third of its ttl, and the first time up to half of that
    /// early, so that locks taken together are renewed apart. [`run`](Acquire::run) does so by
    /// itself.
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
    /// let guard = locks.lock("k").ttl(Duration::from_millis(90)).auto_renew().acquire().await?;
    /// tokio::time::sleep(Duration::from_millis(180)).await; // two ttls later
    /// assert!(guard.is_held());
    /// # Ok(())
    /// # }
    /// ```
    pub fn auto_renew(mut self) -> Self {
        self.renewing = Renewing::Every(None);
        self
    }

    /// Renews the lease while it is held, at this interval (give or take a tenth).
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
    /// let guard = locks
    ///     .lock("invoice/42")
    ///     .ttl(Duration::from_secs(30))
    ///     .renew_every(Duration::from_secs(5))
    ///     .acquire()
    ///     .await?;
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn renew_every(mut self, interval: Duration) -> Self {
        self.renewing = Renewing::Every(Some(interval));
        self
    }

    /// Does not renew the lease: it ends with its ttl.
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
    /// let brief = locks.lock("invoice/42").ttl(Duration::from_millis(50)).no_renewal();
    /// let late = brief.run(|_| tokio::time::sleep(Duration::from_secs(60))).await;
    /// assert!(late.unwrap_err().is_lost()); // the work took longer than the ttl and was dropped
    /// # Ok(())
    /// # }
    /// ```
    pub fn no_renewal(mut self) -> Self {
        self.renewing = Renewing::Never;
        self
    }

    /// Gives up with [`ErrorKind::Cancelled`] when this token is cancelled while acquiring.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::CancellationToken;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let _held = locks.lock("invoice/42").acquire().await?;
    /// let shutdown = CancellationToken::new();
    /// let waiting = locks.lock("invoice/42").cancelled_by(shutdown.clone()).acquire();
    /// shutdown.cancel();
    /// assert!(waiting.await.unwrap_err().is_cancelled());
    /// # Ok(())
    /// # }
    /// ```
    pub fn cancelled_by(mut self, token: CancellationToken) -> Self {
        self.cancelled = Some(token);
        self
    }

    /// Acquires the lock, waiting for it if need be.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`] when the wait was over, [`ErrorKind::Contended`] when the strategy had
    /// ended or no wait was wanted, [`ErrorKind::Unavailable`] when the backend kept failing,
    /// [`ErrorKind::Cancelled`], [`ErrorKind::Foreign`], and [`ErrorKind::Invalid`] or
    /// [`ErrorKind::Unsupported`] for a bad description. The message tells attempts and time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place among the waiters. If a request is under way then, it
    /// is undone in the background, so the key is not left locked (law G5).
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with timers, as tokio's timers do.
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
    /// let guard = locks.lock("invoice/42").wait_at_most(Duration::from_secs(5)).acquire().await?;
    /// // … work …
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn acquire(self) -> Result<LockGuard> {
        let plan = self.plan(false)?;
        let span = tracing::debug_span!("acquire", key = %plan.key, provider = %plan.provider());
        plan.acquire().instrument(span).await
    }

    /// Acquires the lock if it is free: one attempt, `None` when another owner holds it.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Acquire::acquire), without contention.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Acquire::acquire).
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
    /// match locks.lock("nightly-report").try_acquire().await? {
    ///     Some(guard) => guard.release().await?, // after the work
    ///     None => println!("another instance is at it"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_acquire(self) -> Result<Option<LockGuard>> {
        match self.no_wait().acquire().await {
            Ok(guard) => Ok(Some(guard)),
            Err(error) if error.is_contended() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Acquires the lock, does the work, and releases.
    ///
    /// The lease is renewed while the work runs (unless [`no_renewal`](Acquire::no_renewal)). When
    /// the lock is lost, the work is dropped at its next await point. A panic of the work releases
    /// the lock and goes on to the caller. A release that is not confirmed is only reported as an
    /// event: the work is done, the release goes on in the background, and the ttl frees the key.
    ///
    /// # Errors
    ///
    /// Those of [`acquire`](Acquire::acquire), and [`ErrorKind::Lost`] when the lock was lost before
    /// the work was done, also if only the [release](LockGuard::release) finds that out. The result
    /// of the work is then dropped, as another holder may have worked at the same time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the work and releases in the background.
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
        let plan = self.plan(true)?;
        let span = tracing::debug_span!("run", key = %plan.key, provider = %plan.provider());
        async {
            let guard = plan.acquire().await?;
            let lease = guard.lease();
            let done = tokio::select! {
                biased;
                done = work(guard.lease()) => Some(done),
                _ = lease.lost() => None,
            };
            // Work that never yields can outlive its lease: the clock has the last word.
            let Some(output) = done.filter(|_| lease.is_held()) else {
                return Err(lease.lost_error());
            };
            if let Err(failed) = guard.release().await {
                if failed.is_lost() {
                    return Err(failed.into());
                }
                let error = failed.error();
                tracing::debug!(%error, "the release after the work failed, retrying behind");
            }
            Ok(output)
        }
        .instrument(span)
        .await
    }

    /// Takes over a lock that is held under the [`owner_token`](Acquire::owner_token) given, and
    /// renews its lease to the ttl.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`] when that owner does not hold the key any more; the key is then left as it
    /// is. [`ErrorKind::Invalid`] without an owner token.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the lock as it was, perhaps with a fresh ttl; it can be resumed
    /// again.
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
    /// let token = locks.lock("upload/7").acquire().await?.detach().await;
    ///
    /// let acquire = locks.lock("upload/7").owner_token(token).ttl(Duration::from_secs(60));
    /// let guard = acquire.auto_renew().resume().await?;
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume(self) -> Result<LockGuard> {
        let engine = Arc::clone(&self.engine);
        if self.owner.is_none() {
            let message = "resuming needs the owner token that `detach` returned";
            let error = Error::new(ErrorKind::Invalid, message);
            return Err(error.in_operation(Operation::Resume, None, engine.provider.info().name()));
        }
        let plan = self.plan(false)?;
        let key = plan.key.clone();
        let span = tracing::debug_span!("resume", %key, provider = %plan.provider());
        let resumed = plan.resume().instrument(span).await;
        resumed.map_err(|error| engine.explain(error, Operation::Resume, &key))
    }

    /// Checks the whole description, before any request.
    fn plan(self, renew_unless_told: bool) -> Result<Plan> {
        let name = Arc::clone(self.engine.provider.info().name());
        let key = self.key.as_ref().ok().cloned();
        let checked = self.checked(renew_unless_told);
        checked.map_err(|error| {
            error.in_operation(Operation::Acquire, key.as_ref().map(LockKey::shared), &name)
        })
    }

    fn checked(self, renew_unless_told: bool) -> Result<Plan> {
        let engine = self.engine;
        let (key, metadata) = (self.key?, self.metadata?);
        let info = engine.provider.info();
        if !metadata.is_empty() {
            info.declared().require(info.name(), [Capability::Metadata])?;
        }
        let ttl = usable_ttl(self.defaults.ttl)?;
        info.check_ttl(ttl)?;
        let renew = match self.renewing {
            Renewing::Unset => renew_unless_told.then_some(None),
            Renewing::Never => None,
            Renewing::Every(interval) => Some(interval),
        };
        let margin = engine.stop_margin;
        check_times(ttl, margin, renew.flatten(), self.max_hold)?;
        let runtime = Handle::try_current().map_err(|source| {
            Error::new(ErrorKind::Misconfigured, "locks are acquired inside a tokio runtime")
                .with_source(source)
        })?;
        let owner_is_minted = self.owner.is_none();
        let owner = match self.owner {
            Some(token) => token,
            None => (engine.mint)()?,
        };
        let claim = Claim::new(key.clone(), owner, ttl).with_metadata(metadata);
        let bound = Bound::new(&*engine.provider, claim);
        let queues = bound.lock.as_queue().is_some();
        let fairness = self.defaults.fairness(queues, &*engine.provider)?;
        let hints = bound.lock.as_hints().is_some();
        Ok(Plan {
            bound,
            engine,
            runtime,
            key,
            renew,
            max_hold: self.max_hold,
            patience: Patience {
                wait: self.defaults.wait,
                retry: self.defaults.retry,
                hints,
                fairness,
                cancelled: self.cancelled,
                owner_is_minted,
            },
        })
    }
}

/// Checks that the times of one acquisition leave room for each other.
fn check_times(
    ttl: Ttl,
    margin: Option<Duration>,
    every: Option<Duration>,
    max_hold: Option<Duration>,
) -> Result<()> {
    let refuse = |message: String| Err(Error::new(ErrorKind::Invalid, message));
    let usable = check_margin(ttl, margin)?;
    match every {
        Some(Duration::ZERO) => return refuse("the renewal interval is zero".into()),
        // The interval varies by a tenth.
        Some(every) if every.saturating_mul(11) / 10 >= usable => {
            return refuse(format!(
                "renewing every {every:?} is too late for the ttl {ttl}, of which {usable:?} can \
                 be used; leave a tenth of the interval to spare"
            ));
        }
        _ => {}
    }
    if max_hold.is_some_and(|limit| limit.is_zero()) {
        return refuse("the longest time to hold is zero".into());
    }
    Ok(())
}

/// A checked description, bound to the backend.
struct Plan {
    engine: Arc<Engine>,
    runtime: Handle,
    key: LockKey,
    bound: Bound,
    renew: Option<Option<Duration>>,
    max_hold: Option<Duration>,
    patience: Patience,
}

impl Plan {
    fn provider(&self) -> &Arc<str> {
        self.engine.provider.info().name()
    }

    async fn acquire(self) -> Result<LockGuard> {
        let Self { engine, runtime, bound, max_hold, patience, .. } = self;
        let hold = Acquisition::new(engine, runtime, bound, max_hold, patience).run().await?;
        Ok(guard(hold, self.renew))
    }

    async fn resume(self) -> Result<LockGuard> {
        let hold = Hold::resume(self.engine, self.runtime, self.bound, self.max_hold).await?;
        Ok(guard(Arc::new(hold), self.renew))
    }
}

fn guard(hold: Arc<Hold>, renew: Option<Option<Duration>>) -> LockGuard {
    if let Some(every) = renew {
        hold.runtime.spawn(keep_alive(Arc::clone(&hold), every));
    }
    LockGuard::new(hold)
}
