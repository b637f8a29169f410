//! The settings of a client, and their checks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::defaults::Defaults;
use super::lock_client::LockClient;
use crate::acquiring::Wait;
use crate::backend::{Capabilities, Capability, LockProvider, ProviderInfo};
use crate::clock::{Clock, SystemClock};
use crate::engine::{Engine, ForeignLockers, Latency, Margins, Mint};
use crate::error::{Error, ErrorKind, Result};
use crate::fairness::Fairness;
use crate::observe::{Numbers, Observer, Reporter, Source};
use crate::retry::RetryStrategy;
use crate::value::OwnerToken;

/// Sets up a [`LockClient`].
///
/// # Examples
///
/// ```
/// use lock_core::{Backoff, Capability, LockClient};
/// use std::time::Duration;
///
/// let locks = LockClient::builder(lock_memory::MemoryProvider::new())
///     .require([Capability::Fencing])
///     .ttl(Duration::from_secs(10))
///     .wait_at_most(Duration::from_secs(20))
///     .retry(Backoff::fixed(Duration::from_millis(50)))
///     .build()?;
/// # Ok::<(), lock_core::Error>(())
/// ```
#[must_use = "nothing is made until `build` is called"]
pub struct ClientBuilder {
    provider: Arc<dyn LockProvider>,
    clock: Option<Arc<dyn Clock>>,
    mint: Arc<Mint>,
    observer: Option<Arc<dyn Observer>>,
    name: Option<Arc<str>>,
    needed: Vec<Capability>,
    request_timeout: Duration,
    unavailable_after: Duration,
    stop_margin: Option<Duration>,
    clock_drift: Option<f64>,
    defaults: Defaults,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("provider", &self.provider)
            .field("defaults", &self.defaults)
            .finish_non_exhaustive()
    }
}

impl LockClient {
    /// Makes a client with the defaults.
    ///
    /// This cannot fail. If the provider does not support the default ttl, every acquisition that
    /// sets no [`ttl`](crate::Acquire::ttl) of its own fails. Use the
    /// [`builder`](LockClient::builder) to detect that at start-up.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// let locks = LockClient::new(MemoryProvider::new());
    /// let guard = locks.lock("invoice/42").acquire().await?;
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn new(provider: impl LockProvider) -> Self {
        let builder = ClientBuilder::new(Arc::new(provider));
        Self::with(builder, Margins::default(), Reporter::default())
    }

    /// Sets up a client step by step.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # let store = MemoryProvider::new();
    /// let locks = LockClient::builder(store).ttl(Duration::from_secs(10)).build()?;
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn builder(provider: impl LockProvider) -> ClientBuilder {
        ClientBuilder::new(Arc::new(provider))
    }

    fn with(builder: ClientBuilder, margins: Margins, reporter: Reporter) -> Self {
        let ClientBuilder {
            provider, clock, mint, request_timeout, unavailable_after, name, ..
        } = builder;
        let clock = clock
            .or_else(|| provider.info().clock().cloned())
            .unwrap_or_else(|| Arc::new(SystemClock));
        let provider_name = Arc::clone(provider.info().shared_name());
        let source = Arc::new(Source { provider: provider_name, client: name });
        Self {
            engine: Arc::new(Engine {
                provider,
                clock,
                mint,
                reporter,
                source,
                numbers: Numbers::default(),
                lines: Arc::default(),
                foreign: ForeignLockers::default(),
                latency: Latency::default(),
                request_timeout,
                unavailable_after,
                margins,
            }),
            defaults: builder.defaults,
        }
    }
}

impl ClientBuilder {
    pub(crate) fn new(provider: Arc<dyn LockProvider>) -> Self {
        Self {
            clock: None,
            mint: Arc::new(OwnerToken::mint),
            observer: None,
            name: None,
            needed: Vec::new(),
            request_timeout: LockClient::DEFAULT_REQUEST_TIMEOUT,
            unavailable_after: LockClient::DEFAULT_UNAVAILABLE_AFTER,
            stop_margin: None,
            clock_drift: None,
            defaults: Defaults {
                ttl: LockClient::DEFAULT_TTL,
                wait: Wait::AtMost(LockClient::DEFAULT_WAIT),
                retry: None,
                fairness: None,
            },
            provider,
        }
    }

    /// Makes [`build`](Self::build) fail if the provider lacks one of these capabilities.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::Capability;
    ///
    /// # let store = MemoryProvider::new();
    /// let locks = LockClient::builder(store)
    ///     .require([Capability::Fencing, Capability::ServerClock])
    ///     .build()?; // refused if the provider lacks one of them
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn require(mut self, needed: impl IntoIterator<Item = Capability>) -> Self {
        self.needed.extend(needed);
        self
    }

    /// Sets the ttl of acquisitions that set none of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let store = MemoryProvider::new();
    /// let locks = LockClient::builder(store).ttl(Duration::from_secs(10)).build()?;
    /// let guard = locks.lock("invoice/42").acquire().await?;
    /// assert!(guard.remaining().await? <= Some(Duration::from_secs(10)));
    /// # Ok(())
    /// # }
    /// ```
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.defaults.ttl = ttl;
        self
    }

    /// Sets the longest wait of acquisitions that set none of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let store = MemoryProvider::new();
    /// let locks = LockClient::builder(store).wait_at_most(Duration::from_millis(20)).build()?;
    /// let guard = locks.lock("invoice/42").acquire().await?;
    /// assert!(locks.lock("invoice/42").acquire().await.unwrap_err().is_timed_out());
    /// # drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn wait_at_most(mut self, wait: Duration) -> Self {
        self.defaults.wait = Wait::AtMost(wait);
        self
    }

    /// Sets the retry strategy of acquisitions that set none of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// use lock_core::Backoff;
    ///
    /// # let store = MemoryProvider::new();
    /// let gentle = Backoff::linear(Duration::from_millis(100), Duration::from_secs(2));
    /// let locks = LockClient::builder(store).retry(gentle).build()?;
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn retry(mut self, strategy: impl RetryStrategy) -> Self {
        self.defaults.retry = Some(Arc::new(strategy));
        self
    }

    /// Sets the fairness of acquisitions that set none of their own.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::Fairness;
    ///
    /// # let store = MemoryProvider::new();
    /// let locks = LockClient::builder(store).fairness(Fairness::Fifo).build()?;
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn fairness(mut self, fairness: Fairness) -> Self {
        self.defaults.fairness = Some(fairness);
        self
    }

    /// Sets how long before its deadline a lock is declared lost.
    ///
    /// The holder needs this time to stop its work. The default is a tenth of the ttl, and at most
    /// 5 seconds.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let store = MemoryProvider::new();
    /// // Work that needs two seconds to stop:
    /// let locks = LockClient::builder(store).stop_margin(Duration::from_secs(2)).build()?;
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(30)).acquire().await?;
    /// let refused = locks.lock("k").ttl(Duration::from_secs(2)).acquire().await.unwrap_err();
    /// assert!(refused.to_string().contains("the stop margin 2s leaves nothing of the ttl 2s"));
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn stop_margin(mut self, margin: Duration) -> Self {
        self.stop_margin = Some(margin);
        self
    }

    /// Sets how far the clocks of the client and the store may drift apart, as a fraction of the
    /// elapsed time.
    ///
    /// A lease counts as ended earlier than its ttl by this fraction of the ttl (law G1). The
    /// default is also the minimum: 0.01, which is one second in a hundred. Quartz clocks usually
    /// stay below 0.0002. A clock that is being slewed, or that of a busy virtual machine, can
    /// drift by more.
    ///
    /// # Errors
    ///
    /// [`build`](Self::build) refuses a drift below 0.01 or above 0.5.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let store = MemoryProvider::new();
    /// let locks = LockClient::builder(store).clock_drift(0.05).build()?;
    /// let guard = locks.lock("invoice/42").ttl(Duration::from_secs(100)).acquire().await?;
    /// assert!(guard.check(Duration::from_secs(95)).is_err());
    /// # Ok(())
    /// # }
    /// ```
    pub fn clock_drift(mut self, part: f64) -> Self {
        self.clock_drift = Some(part);
        self
    }

    /// Sets the time limit of one request to the backend.
    ///
    /// The limit is a duration. Some libraries take a fraction of the ttl instead: their 0.1 with a
    /// ttl of 8 s is a limit of 800 ms here.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # let store = MemoryProvider::new();
    /// let limit = Duration::from_millis(500);
    /// let locks = LockClient::builder(store.clone()).request_timeout(limit).build()?;
    ///
    /// let zero = LockClient::builder(store).request_timeout(Duration::ZERO).build();
    /// assert!(zero.unwrap_err().is_misconfigured());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// Sets how long an acquisition retries a failing backend.
    ///
    /// The acquisition then fails with [`ErrorKind::Unavailable`]. It fails in the same way if its
    /// time to wait ends first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use std::time::Duration;
    /// use lock_memory::{Fault, Faults, Verb};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let faults = Faults::new();
    /// faults.always(Verb::TryAcquire, Fault::unavailable());
    /// let locks = LockClient::builder(faults.around(MemoryProvider::new()))
    ///     .unavailable_after(Duration::from_millis(50))
    ///     .build()?;
    /// assert!(locks.lock("invoice/42").acquire().await.unwrap_err().is_unavailable());
    /// # Ok(())
    /// # }
    /// ```
    pub fn unavailable_after(mut self, limit: Duration) -> Self {
        self.unavailable_after = limit;
        self
    }

    /// Measures leases with this clock.
    ///
    /// The default is the clock that the provider brings, or else the
    /// [`SystemClock`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::clock::TokioClock;
    ///
    /// # let store = MemoryProvider::new();
    /// let locks = LockClient::builder(store).clock(TokioClock::new()).build()?;
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Makes owner tokens with this function rather than [`OwnerToken::mint`].
    ///
    /// **Every call must return a token that was never returned before.** Two acquisitions with the
    /// same token are one owner, so both hold the lock (law E4). Use this only in tests that need
    /// to know the tokens beforehand.
    ///
    /// # Errors
    ///
    /// An error of the function fails the acquisition.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use std::sync::atomic::{AtomicU8, Ordering};
    /// use lock_core::OwnerToken;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// # let store = MemoryProvider::new();
    /// let next = AtomicU8::new(0);
    /// let mint = move || Ok(OwnerToken::from_bits([next.fetch_add(1, Ordering::Relaxed); 16]));
    /// let locks = LockClient::builder(store).owner_tokens(mint).build()?;
    /// let guard = locks.lock("invoice/42").acquire().await?;
    /// assert_eq!(*guard.owner_token(), OwnerToken::from_bits([0; 16]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn owner_tokens(
        mut self,
        mint: impl Fn() -> Result<OwnerToken> + Send + Sync + 'static,
    ) -> Self {
        self.mint = Arc::new(mint);
        self
    }

    /// Names the client in its [events](crate::observe::Event::client).
    ///
    /// Clients of a configuration have the name that they have there.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// let locks = LockClient::builder(MemoryProvider::new()).name("billing").build()?;
    /// assert_eq!(locks.name(), Some("billing"));
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Reports events to an observer, on a thread of its own.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::observe::{Event, Observer};
    ///
    /// # let store = MemoryProvider::new();
    /// #[derive(Debug)]
    /// struct Log;
    ///
    /// impl Observer for Log {
    ///     fn on_event(&self, event: &Event) {
    ///         println!("{} {} {}", event.provider(), event.kind().name(), event.key());
    ///     }
    /// }
    ///
    /// let locks = LockClient::builder(store).observer(Log).build()?;
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | [`ErrorKind::Unsupported`] | the provider lacks a required capability, or the queue that the fairness needs |
    /// | [`ErrorKind::Invalid`] | the default ttl is zero, shorter than the safety margins, or not supported by the provider |
    /// | [`ErrorKind::Misconfigured`] | the request timeout is zero, the clock drift is out of range, or the thread of the observer did not start |
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # use std::time::Duration;
    /// # let store = MemoryProvider::new();
    /// let refused = LockClient::builder(store).ttl(Duration::ZERO).build();
    /// assert_eq!(refused.unwrap_err().to_string(), "the ttl is zero; it must be longer");
    /// ```
    pub fn build(self) -> Result<LockClient> {
        let info = self.provider.info();
        if !self.needed.is_empty() || self.defaults.fairness.is_some() {
            let capabilities = Capabilities::of(&*self.provider);
            capabilities.require(info.name(), self.needed.iter().copied())?;
            self.defaults.fairness(capabilities.has(Capability::Queue), &*self.provider)?;
        }
        let margins = Margins::new(self.clock_drift, self.stop_margin)?;
        check_default_ttl(margins, self.defaults.ttl, info)?;
        if self.request_timeout.is_zero() {
            let message = "the request timeout is zero; give every request some time";
            return Err(Error::new(ErrorKind::Misconfigured, message));
        }
        let reporter = match &self.observer {
            Some(observer) => Reporter::start(Arc::clone(observer))?,
            None => Reporter::default(),
        };
        Ok(LockClient::with(self, margins, reporter))
    }
}

/// Refuses a default ttl with which every acquisition without a ttl of its own would fail.
fn check_default_ttl(margins: Margins, ttl: Duration, info: &ProviderInfo) -> Result<()> {
    let ttl = margins.usable_ttl(ttl)?;
    margins.usable_part(ttl)?;
    if info.check_ttl(ttl).is_ok() {
        return Ok(());
    }
    let (shortest, longest) = (info.ttls().start(), info.ttls().end());
    Err(Error::new(
        ErrorKind::Invalid,
        format!(
            "the default ttl {ttl} is out of range for the provider `{}`, which keeps {shortest} to \
             {longest}; set a default within that range, with `ClientBuilder::ttl` or the `ttl` of a \
             `ProviderConfig`, or configure the provider to keep {ttl}",
            info.name()
        ),
    ))
}
