//! The description of an acquisition, and the verbs that run it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::defaults::Defaults;
use super::guard::LockGuard;
use super::renewing::Renewing;
use crate::acquiring::Wait;
use crate::engine::Engine;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::fairness::Fairness;
use crate::holding::{HoldSettings, Renewals};
use crate::retry::RetryStrategy;
use crate::value::{LockKey, Metadata, OwnerToken};

/// Describes an acquisition: its ttl, how it waits, and how the lock is held.
///
/// [`LockClient::lock`](crate::LockClient::lock) makes one. Nothing is sent until one of its four
/// verbs is awaited:
///
/// | verb | what it does |
/// |---|---|
/// | [`acquire`](Acquire::acquire) | acquires the lock, and waits if another owner holds it |
/// | [`try_acquire`](Acquire::try_acquire) | acquires the lock if it is free |
/// | [`run`](Acquire::run) | holds the lock while a future runs |
/// | [`resume`](Acquire::resume) | takes over a lock that is held already |
///
/// The verb reports an invalid description before it sends any request.
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
    pub(super) engine: Arc<Engine>,
    pub(super) defaults: Defaults,
    pub(super) key: Result<LockKey>,
    pub(super) owner: Option<OwnerToken>,
    pub(super) metadata: Result<Metadata>,
    pub(super) holding: HoldSettings,
    pub(super) renewing: Renewing,
    pub(super) cancelled: Option<CancellationToken>,
    pub(super) grace: Duration,
}

/// A clone describes another acquisition. It does not copy the [owner token](Acquire::owner_token),
/// because one token must not acquire twice (law E4).
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
/// let report = locks.lock("report").ttl(Duration::from_secs(10)).auto_renew(); // kept as a value
/// for _ in 0..3 {
///     let guard = report.clone().acquire().await?;
///     guard.release().await?;
/// }
/// # Ok(())
/// # }
/// ```
impl Clone for Acquire {
    fn clone(&self) -> Self {
        Self {
            engine: Arc::clone(&self.engine),
            defaults: self.defaults.clone(),
            key: self.key.clone(),
            owner: None,
            metadata: self.metadata.clone(),
            holding: self.holding.clone(),
            renewing: self.renewing,
            cancelled: self.cancelled.clone(),
            grace: self.grace,
        }
    }
}

impl Acquire {
    pub(super) fn new(engine: Arc<Engine>, defaults: Defaults, key: Result<LockKey>) -> Self {
        Self {
            engine,
            defaults,
            key,
            owner: None,
            metadata: Ok(Metadata::default()),
            holding: HoldSettings::default(),
            renewing: Renewing::Unset,
            cancelled: None,
            grace: Duration::ZERO,
        }
    }

    /// Sets how long the lease lasts unless it is renewed.
    ///
    /// The time is rounded up to whole milliseconds.
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
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(30)).acquire().await?;
    /// guard.check(Duration::from_secs(25))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.defaults.ttl = ttl;
        self
    }

    /// Waits at most this long when the key is held, and makes a last attempt at the end (law W1).
    ///
    /// That last attempt may take some more time:
    ///
    /// | the backend | time for the last attempt |
    /// |---|---|
    /// | has answered an earlier request | twice the latency of its last answer, but at least 100 ms and at most one second |
    /// | has not answered yet | half a second |
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

    /// Waits without limit when the key is held.
    ///
    /// A failing backend is still reported.
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

    /// Makes one attempt and does not wait when the key is held.
    ///
    /// The attempt may take up to the [time limit](crate::ClientBuilder::request_timeout) of a
    /// request.
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

    /// Sets the delays between attempts.
    ///
    /// When the sequence of delays ends, the acquisition fails with [`ErrorKind::Contended`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::Backoff;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
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

    /// Sets the order in which waiters get the key.
    ///
    /// Every choice except [`Fairness::Race`] needs a provider with
    /// [`Capability::Queue`](crate::Capability::Queue).
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

    /// Stores a note beside the lock, for processes that inspect the key.
    ///
    /// The note is bytes or text. It needs a provider with
    /// [`Capability::Metadata`](crate::Capability::Metadata).
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

    /// Acquires the lock under this owner token rather than a fresh one.
    ///
    /// **Never use a token for a second acquisition**, whatever became of the first. Two
    /// acquisitions with one token are the same owner: both hold the lock, and undoing one of them
    /// frees the other.
    ///
    /// Use this to know the token beforehand, for instance to store it before the first request. A
    /// [clone](#impl-Clone-for-Acquire) of the acquisition does not have it.
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

    /// Declares the lock lost when it has been held this long.
    ///
    /// Renewals do not prolong this time.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::loss::Loss;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
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
        self.holding.max_hold = Some(limit);
        self
    }

    /// Renews the lease every third of its ttl while the lock is held.
    ///
    /// The first renewal comes up to half an interval early, so that locks acquired together are
    /// not renewed together. [`run`](Acquire::run) renews without this.
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
    /// let guard = locks.lock("k").ttl(Duration::from_millis(90)).auto_renew().acquire().await?;
    /// tokio::time::sleep(Duration::from_millis(180)).await; // two ttls later
    /// assert!(guard.is_held());
    /// # Ok(())
    /// # }
    /// ```
    pub fn auto_renew(mut self) -> Self {
        self.renewing = Renewing::Always;
        self
    }

    /// Renews the lease at this interval while the lock is held.
    ///
    /// Each interval varies by up to a tenth, so that locks acquired together are not renewed
    /// together.
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
        self.renewing = Renewing::Always;
        self.renewals().every = Some(interval);
        self
    }

    /// Limits how long each renewal may take.
    ///
    /// Two limits apply in any case: the
    /// [request timeout](crate::ClientBuilder::request_timeout), and half of the time until the lock
    /// would be declared lost. This limit can only shorten them.
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
    /// let limit = Duration::from_millis(300);
    /// let guard = locks.lock("invoice/42").auto_renew().renewal_timeout(limit).acquire().await?;
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn renewal_timeout(mut self, limit: Duration) -> Self {
        self.renewals().timeout = Some(limit);
        self
    }

    /// Declares the lock lost after this many failed renewals in a row.
    ///
    /// The loss is [`Loss::GaveUp`](crate::loss::Loss::GaveUp). Renewals by [`LockGuard::renew`]
    /// count as well. By default, failed renewals alone lose no lock, however many there are (law
    /// G3): it is lost when the [stop margin](crate::ClientBuilder::stop_margin) begins.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::num::NonZeroU32;
    /// use lock_core::loss::Loss;
    /// use lock_memory::{Fault, Faults, Verb};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    /// let twice = NonZeroU32::new(2).unwrap();
    /// let guard = locks.lock("k").auto_renew().max_renewal_failures(twice).acquire().await?;
    /// faults.always(Verb::Renew, Fault::unavailable());
    /// assert!(matches!(guard.lost().await, Some(Loss::GaveUp { failures: 2, .. })));
    /// # Ok(())
    /// # }
    /// ```
    pub fn max_renewal_failures(mut self, failures: NonZeroU32) -> Self {
        self.renewals().max_failures = Some(failures);
        self
    }

    fn renewals(&mut self) -> &mut Renewals {
        self.holding.renewals.get_or_insert_default()
    }

    /// Does not renew the lease, so it ends with its ttl.
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

    /// Stops acquiring when this token is cancelled, and stops the work of [`run`](Acquire::run).
    ///
    /// The acquisition fails with [`ErrorKind::Cancelled`]. So does `run`, unless its work ends
    /// within the [`grace`](Acquire::grace). A guard that was acquired before is not affected.
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

    /// Acquires the lock, and waits while another owner holds it.
    ///
    /// **The lease is not renewed** unless [`auto_renew`](Acquire::auto_renew) or
    /// [`renew_every`](Acquire::renew_every) is set, so it ends with its ttl.
    ///
    /// # Errors
    ///
    /// The message says how many attempts were made and how long they took.
    ///
    /// | kind | when |
    /// |---|---|
    /// | [`ErrorKind::TimedOut`] | the time to wait was over |
    /// | [`ErrorKind::Contended`] | the key is held, and the caller does not wait or the retry strategy has ended |
    /// | [`ErrorKind::Cancelled`] | the [cancellation token](Acquire::cancelled_by) was cancelled |
    /// | [`ErrorKind::Unavailable`] | the backend kept failing, for its [time limit](crate::ClientBuilder::unavailable_after) or until the time to wait was over |
    /// | [`ErrorKind::Denied`] | the backend refuses this user |
    /// | [`ErrorKind::Foreign`] | the key holds data that is no lock |
    /// | [`ErrorKind::Invalid`] | a key, time, note or owner token is invalid |
    /// | [`ErrorKind::Unsupported`] | the provider lacks a capability that the description needs |
    /// | [`ErrorKind::Misconfigured`] | there is no tokio runtime |
    ///
    /// # Cancel safety
    ///
    /// Dropping the future gives up the place among the waiters. A request in flight is undone in
    /// the background, so the key does not stay locked (law G5).
    ///
    /// # Panics
    ///
    /// Panics if the timers of the tokio runtime are disabled.
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

    /// Acquires the lock if it is free, and does not wait.
    ///
    /// This is [`no_wait`](Acquire::no_wait) followed by [`acquire`](Acquire::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Acquire::acquire). The error is [contended](Error::is_contended) if another
    /// owner holds the key, and [`Error::remaining`] then returns how long its lease has left.
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
    /// match locks.lock("nightly-report").try_acquire().await {
    ///     Ok(guard) => guard.release().await?, // after the work
    ///     Err(error) if error.is_contended() => println!("busy for {:?}", error.remaining()),
    ///     Err(error) => return Err(error),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn try_acquire(self) -> Result<LockGuard> {
        self.no_wait().acquire().await
    }

    /// Takes over a lock that is held under the given [`owner_token`](Acquire::owner_token).
    ///
    /// The lease is renewed to the ttl.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | [`ErrorKind::Lost`] | that owner no longer holds the key, which stays as it is |
    /// | [`ErrorKind::Invalid`] | there is no owner token, or the description is invalid |
    /// | [`ErrorKind::Unavailable`] | the backend failed; the lock may still be held |
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the lock held. Its lease may have been renewed. It can be resumed
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
            return Err(error.in_operation(
                Operation::Resume,
                None,
                engine.provider.info().shared_name(),
            ));
        }
        let plan = self.plan(false)?;
        let key = plan.key.clone();
        let span = tracing::debug_span!("resume", %key, provider = %plan.provider());
        let resumed = plan.resume().instrument(span).await;
        resumed.map_err(|error| engine.explain(error, Operation::Resume, &key))
    }
}
