//! `Subject`: a provider under test, and what the suite must know about it.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use lock_core::backend::{Claim, Ttl};
use lock_core::clock::{Clock, SystemClock};
use lock_core::{
    Capabilities, Capability, ClientBuilder, LockClient, LockKey, LockProvider, OwnerToken,
};

use lock_memory::{Faults, Faulty};

use crate::Pace;
use crate::handle::Handle;

type Expire = Box<dyn Fn(LockKey) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// The subject of a case: a fresh provider, and what the suite must know about it.
///
/// # Examples
///
/// ```
/// use lock_memory::MemoryProvider;
/// use lock_testkit::Subject;
///
/// let store = MemoryProvider::new();
/// let subject = Subject::new(store.clone()).expire_with(move |key| {
///     store.expire_now(&key);
///     async {}
/// });
/// ```
pub struct Subject {
    provider: Arc<dyn LockProvider>,
    capabilities: Capabilities,
    expected: Option<Capabilities>,
    neighbour: Option<Arc<dyn LockProvider>>,
    clock: Arc<dyn Clock>,
    expire: Option<Expire>,
    pace: Pace,
    unit: Option<Duration>,
    /// Part of every key of this case, so that no other case on the same server uses the same key.
    salt: u64,
    _guard: Box<dyn Any + Send + Sync>,
}

impl Subject {
    /// Makes a subject from a provider that no other case uses.
    ///
    /// The cases use the clock that the provider brings, or else the [`SystemClock`].
    pub fn new(provider: impl LockProvider) -> Self {
        let provider: Arc<dyn LockProvider> = Arc::new(provider);
        let brought = provider.info().clock().cloned();
        Self {
            capabilities: Capabilities::of(&*provider),
            expected: None,
            provider,
            neighbour: None,
            clock: brought.unwrap_or_else(|| Arc::new(SystemClock)),
            expire: None,
            pace: Pace::Real,
            unit: None,
            salt: fastrand::u64(..),
            _guard: Box::new(()),
        }
    }

    /// Keeps a value alive until the case has ended, such as a server, a schema or a folder.
    #[must_use]
    pub fn guarded_by(mut self, guard: impl Any + Send + Sync) -> Self {
        self._guard = Box::new(guard);
        self
    }

    /// Adds a provider on the same store with separate keys, for instance by a prefix.
    ///
    /// The cases about separate keys run only with it.
    #[must_use]
    pub fn neighbour(mut self, provider: impl LockProvider) -> Self {
        self.neighbour = Some(Arc::new(provider));
        self
    }

    /// States the capabilities of the provider, so that a case fails if it has more or fewer.
    ///
    /// **Without this, an optional trait that the provider does not return by mistake is never
    /// tested**: cases about a missing capability pass.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Capability;
    /// use lock_memory::MemoryProvider;
    /// use lock_testkit::Subject;
    ///
    /// let subject = Subject::new(MemoryProvider::new()).expects(Capability::ALL.iter().copied());
    /// ```
    #[must_use]
    pub fn expects(mut self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        self.expected = Some(capabilities.into_iter().collect());
        self
    }

    /// Sets how to end a lease before its time, so that schedules need not wait for the expiry.
    #[must_use]
    pub fn expire_with<F, E>(mut self, expire: F) -> Self
    where
        F: Fn(LockKey) -> E + Send + Sync + 'static,
        E: Future<Output = ()> + Send + 'static,
    {
        self.expire = Some(Box::new(move |key| Box::pin(expire(key))));
        self
    }

    /// Sets the unit in which the cases measure ttls and waits.
    ///
    /// The default is 10 seconds in paused time and half a second in real time. A slow store may
    /// need more.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_memory::MemoryProvider;
    /// use lock_testkit::Subject;
    /// use std::time::Duration;
    ///
    /// let subject = Subject::new(MemoryProvider::new()).unit(Duration::from_secs(2));
    /// ```
    #[must_use]
    pub fn unit(mut self, unit: Duration) -> Self {
        self.unit = Some(unit);
        self
    }

    /// Returns the provider.
    pub fn provider(&self) -> &Arc<dyn LockProvider> {
        &self.provider
    }

    pub(crate) fn the_neighbour(&self) -> Option<&Arc<dyn LockProvider>> {
        self.neighbour.as_ref()
    }

    pub(crate) fn expected(&self) -> Option<Capabilities> {
        self.expected
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    pub(crate) fn has(&self, capability: Capability) -> bool {
        self.capabilities.has(capability)
    }

    /// Returns this many units of time.
    pub(crate) fn units(&self, count: u32) -> Duration {
        self.unit.unwrap_or(self.pace.unit()) * count
    }

    /// A ttl that no case outlives.
    pub(crate) fn long(&self) -> Duration {
        self.units(60)
    }

    pub(crate) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(crate) fn paced(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Whether time passes in no time, so that it can be measured to the millisecond.
    pub(crate) fn is_virtual(&self) -> bool {
        self.pace == Pace::Paused
    }

    /// Checks that paused time is the time of the store. Otherwise a case would hang, or fail for no
    /// visible reason.
    pub(crate) async fn check_clock(&self) {
        if !self.is_virtual() {
            return;
        }
        let (start, step) = (self.clock.now(), Duration::from_secs(1));
        tokio::time::advance(step).await;
        let passed = self.clock.now().since(start);
        assert!(
            passed == step,
            "the clock of the provider advanced by {passed:?} when tokio's advanced by {step:?}; \
             `Pace::Paused` needs a store in this process, on a `TokioClock` that its provider \
             brings with `ProviderInfo::with_clock`"
        );
    }

    /// Lets time pass.
    pub(crate) async fn pass(&self, time: Duration) {
        self.clock.sleep(time).await;
    }

    pub(crate) fn can_expire(&self) -> bool {
        self.expire.is_some()
    }

    /// Returns a ttl for a lease that [`expire`](Self::expire) ends. It is long enough for what a
    /// case does before that, even on a loaded machine.
    pub(crate) fn until_expire(&self) -> Duration {
        if self.can_expire() { self.long() } else { self.units(4) }
    }

    /// Ends the lease on a key: by force where the store can, else by waiting out `ttl`.
    pub(crate) async fn expire(&self, key: &LockKey, ttl: Duration) {
        match &self.expire {
            Some(expire) => expire(key.clone()).await,
            None => self.pass(ttl + Duration::from_millis(5)).await,
        }
    }

    /// A key that only this case uses.
    pub(crate) fn key(&self, name: &str) -> LockKey {
        LockKey::new(format!("{:016x}/{name}", self.salt)).unwrap()
    }

    /// A fresh owner's claim to a key.
    pub(crate) fn claim(&self, key: &LockKey, ttl: Duration) -> Claim {
        Claim::new(key.clone(), OwnerToken::mint().unwrap(), Ttl::new(ttl).unwrap())
    }

    /// A fresh owner's lock.
    pub(crate) fn lock(&self, key: &LockKey, ttl: Duration) -> Handle {
        self.bind(self.claim(key, ttl))
    }

    /// The lock of a claim.
    pub(crate) fn bind(&self, claim: Claim) -> Handle {
        Handle::new(&self.provider, claim)
    }

    pub(crate) fn client(&self) -> LockClient {
        self.client_builder().build().unwrap()
    }

    /// A client whose limits fit the unit of time.
    pub(crate) fn client_builder(&self) -> ClientBuilder {
        LockClient::builder(Arc::clone(&self.provider))
            .ttl(self.long())
            .wait_at_most(self.units(20))
    }

    /// A client whose requests go wrong as the script says.
    pub(crate) fn faulty_client(&self) -> (LockClient, Faults) {
        let (builder, faults) = self.faulty_builder();
        (builder.build().unwrap(), faults)
    }

    pub(crate) fn faulty_builder(&self) -> (ClientBuilder, Faults) {
        let faults = Faults::new();
        let faulty: Faulty<_> = faults.around(Arc::clone(&self.provider));
        let builder = LockClient::builder(faulty).ttl(self.long()).wait_at_most(self.units(20));
        (builder, faults)
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("provider", &self.provider)
            .field("unit", &self.unit)
            .finish_non_exhaustive()
    }
}
