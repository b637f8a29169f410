//! The settings of a client, and their checks.

use std::sync::Arc;
use std::time::Duration;

use super::{Defaults, LockClient};
use crate::acquiring::Wait;
use crate::backend::{Capability, LockProvider, ProviderInfo};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::fairness::Fairness;
use crate::holding::usable_ttl;
use crate::observe::{Observer, Reporter};
use crate::retry::{Backoff, RetryStrategy};
use crate::value::{OsTokens, TokenSource};

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
#[derive(Debug)]
#[must_use = "nothing is made until `build` is called"]
pub struct ClientBuilder {
    pub(super) provider: Arc<dyn LockProvider>,
    pub(super) clock: Option<Arc<dyn Clock>>,
    pub(super) tokens: Arc<dyn TokenSource>,
    pub(super) observer: Option<Arc<dyn Observer>>,
    pub(super) needed: Vec<Capability>,
    pub(super) request_timeout: Duration,
    pub(super) unavailable_after: Duration,
    pub(super) defaults: Defaults,
}

impl ClientBuilder {
    pub(crate) fn new(provider: Arc<dyn LockProvider>) -> Self {
        Self {
            clock: None,
            tokens: Arc::new(OsTokens),
            observer: None,
            needed: Vec::new(),
            request_timeout: LockClient::DEFAULT_REQUEST_TIMEOUT,
            unavailable_after: LockClient::DEFAULT_UNAVAILABLE_AFTER,
            defaults: Defaults {
                ttl: LockClient::DEFAULT_TTL,
                wait: Wait::AtMost(LockClient::DEFAULT_WAIT),
                retry: Arc::new(match provider.info().capabilities().has(Capability::Hints) {
                    true => Backoff::beside_hints(),
                    false => Backoff::default(),
                }),
                fairness: None,
                stop_margin: None,
            },
            provider,
        }
    }

    /// Refuses a provider that lacks one of these capabilities.
    pub fn require(mut self, needed: impl IntoIterator<Item = Capability>) -> Self {
        self.needed.extend(needed);
        self
    }

    /// Sets the ttl of acquisitions that set none.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.defaults.ttl = ttl;
        self
    }

    /// Sets how long acquisitions wait that do not say.
    pub fn wait_at_most(mut self, wait: Duration) -> Self {
        self.defaults.wait = Wait::AtMost(wait);
        self
    }

    /// Sets the retry strategy of acquisitions that set none.
    pub fn retry(mut self, strategy: impl RetryStrategy) -> Self {
        self.defaults.retry = Arc::new(strategy);
        self
    }

    /// Sets the fairness of acquisitions that set none.
    pub fn fairness(mut self, fairness: Fairness) -> Self {
        self.defaults.fairness = Some(fairness);
        self
    }

    /// Sets how long before its deadline a lock is declared lost, so that the holder can stop in
    /// time. The default is a tenth of the ttl, 5 seconds at most.
    pub fn stop_margin(mut self, margin: Duration) -> Self {
        self.defaults.stop_margin = Some(margin);
        self
    }

    /// Sets the limit of one request to the backend.
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.request_timeout = limit;
        self
    }

    /// Sets for how long an acquisition tries a failing backend again before it reports
    /// [`ErrorKind::Unavailable`].
    pub fn unavailable_after(mut self, limit: Duration) -> Self {
        self.unavailable_after = limit;
        self
    }

    /// Measures leases with this clock rather than the provider's or the system's.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Mints owner tokens with this source; for tests.
    pub fn token_source(mut self, tokens: impl TokenSource) -> Self {
        self.tokens = Arc::new(tokens);
        self
    }

    /// Sends events to an observer, on a thread of its own.
    pub fn observer(mut self, observer: impl Observer) -> Self {
        self.observer = Some(Arc::new(observer));
        self
    }

    /// Makes the client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] when the provider lacks a required capability or the fairness
    /// asked for, [`ErrorKind::Invalid`] when the default ttl is one that the provider does not keep,
    /// [`ErrorKind::Misconfigured`] when a limit makes no sense.
    pub fn build(self) -> Result<LockClient> {
        let info = self.provider.info();
        info.require(self.needed.iter().copied())?;
        check_default_ttl(self.defaults.ttl, info)?;
        self.defaults.fairness(info)?;
        if self.request_timeout.is_zero() {
            let message = "the request timeout is zero; give every request some time";
            return Err(Error::new(ErrorKind::Misconfigured, message));
        }
        let reporter = match &self.observer {
            Some(observer) => Reporter::start(Arc::clone(observer))?,
            None => Reporter::default(),
        };
        Ok(LockClient::with(self, reporter))
    }
}

/// Refuses a default that every acquisition without a ttl of its own would fail with.
fn check_default_ttl(ttl: Duration, info: &ProviderInfo) -> Result<()> {
    let ttl = usable_ttl(ttl)?;
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
