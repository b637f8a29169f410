//! `MemoryProvider` and its locks: each verb is one step on the shared store, under a mutex.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lock_core::backend::{
    Attempt, Claim, FencingFloor, HandOver, Hints, Inspect, ProviderInfo, Queue, Release, Renewal,
    Subscription, Transfer, Ttl,
};
use lock_core::clock::{Clock, Moment, TokioClock};
use lock_core::{
    Error, ErrorKind, FencingToken, Lock, LockKey, LockProvider, Occupancy, OwnerToken, Result,
};

use crate::store::{Store, Waiting};

/// Keeps locks in the memory of this process.
///
/// **It excludes only the tasks of one process.**
///
/// It has every capability, so it suits the tests of code that uses another store in production.
/// Clones share the store. The store and its clients use the clock of tokio, or the clock that
/// [`MemoryBuilder::clock`] sets. A test can therefore control the time with a paused runtime or a
/// [`ManualClock`](crate::ManualClock).
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use lock_core::LockClient;
/// use lock_memory::MemoryProvider;
///
/// let store = MemoryProvider::new();
/// let locks = LockClient::new(store.clone());
/// let guard = locks.lock("report").acquire().await?;
///
/// store.take_over(guard.key())?; // a stranger has it now
/// assert!(guard.renew_to(std::time::Duration::from_secs(5)).await.unwrap_err().is_lost());
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct MemoryProvider {
    shared: Arc<Shared>,
}

struct Shared {
    info: ProviderInfo,
    clock: Arc<dyn Clock>,
    store: Mutex<Store>,
}

impl MemoryProvider {
    /// Makes an empty store with the clock of tokio.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// let locks = LockClient::new(MemoryProvider::new());
    /// assert!(locks.inspect("report").await?.is_free());
    /// # Ok(())
    /// # }
    /// ```
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Sets up a store step by step.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::LockProvider;
    ///
    /// let store = MemoryProvider::builder().name("scratch").build();
    /// assert_eq!(store.info().name(), "scratch");
    /// ```
    pub fn builder() -> MemoryBuilder {
        MemoryBuilder { name: "memory".into(), clock: None }
    }

    /// Ends the lease on a key, as if its ttl were over.
    ///
    /// No waiter gets a signal.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// let store = MemoryProvider::new();
    /// let guard = LockClient::new(store.clone()).lock("report").acquire().await?;
    /// store.expire_now("report");
    /// assert!(guard.release().await.unwrap_err().is_lost());
    /// # Ok(())
    /// # }
    /// ```
    pub fn expire_now(&self, key: impl AsRef<str>) {
        self.shared.store().expire_now(key.as_ref());
    }

    /// Grants a key to a stranger for an hour, and returns the owner token of the stranger.
    ///
    /// The present holder loses the key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for an invalid key, and [`ErrorKind::Unavailable`] when the system
    /// returns no random bits for the token.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// let store = MemoryProvider::new();
    /// let locks = LockClient::new(store.clone());
    /// let stranger = store.take_over("report")?;
    /// let occupancy = locks.inspect("report").await?;
    /// assert_eq!(occupancy.holder().unwrap().owner(), stranger.fingerprint());
    /// # Ok(())
    /// # }
    /// ```
    pub fn take_over<K>(&self, key: K) -> Result<OwnerToken>
    where
        K: TryInto<LockKey>,
        Error: From<K::Error>,
    {
        let key = key.try_into()?;
        let stranger = OwnerToken::mint()?;
        let ends = self.shared.clock.now().after(std::time::Duration::from_secs(3600));
        self.shared.store().take_over(&key, stranger, ends);
        Ok(stranger)
    }

    /// Returns how many claims wait for a key in the store.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// let store = MemoryProvider::new();
    /// store.take_over("report")?;
    /// let locks = LockClient::new(store.clone());
    /// let waiter = tokio::spawn(locks.lock("report").acquire());
    /// while store.waiters("report") == 0 {
    ///     tokio::task::yield_now().await;
    /// }
    /// # waiter.abort();
    /// # Ok(())
    /// # }
    /// ```
    pub fn waiters(&self, key: impl AsRef<str>) -> usize {
        self.shared.store().waiters(key.as_ref())
    }
}

impl Default for MemoryProvider {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryProvider")
            .field("name", &self.shared.info.name())
            .field("clock", &self.shared.clock)
            .finish_non_exhaustive()
    }
}

impl LockProvider for MemoryProvider {
    fn info(&self) -> &ProviderInfo {
        &self.shared.info
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        Arc::new(MemoryLock { shared: Arc::clone(&self.shared), claim })
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        Some(self)
    }
}

#[async_trait]
impl Inspect for MemoryProvider {
    async fn inspect(&self, key: &LockKey) -> Result<Occupancy> {
        Ok(self.shared.verb(|store, now| store.inspect(key, now)))
    }
}

impl Shared {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one verb. It reads the clock under the mutex, so time never goes back between two
    /// verbs.
    fn verb<T>(&self, verb: impl FnOnce(&mut Store, Moment) -> T) -> T {
        let mut store = self.store();
        let now = self.clock.now();
        verb(&mut store, now)
    }
}

/// The number of stores built so far, which gives each of them an identity.
static BUILT: AtomicU64 = AtomicU64::new(1);

/// Sets up a [`MemoryProvider`].
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// use lock_memory::ManualClock;
///
/// let store = MemoryProvider::builder().name("scratch").clock(ManualClock::new()).build();
/// let locks = LockClient::new(store);
/// assert_eq!(locks.info().name(), "scratch");
/// ```
#[derive(Debug)]
#[must_use = "nothing is made until `build` is called"]
pub struct MemoryBuilder {
    name: Arc<str>,
    clock: Option<Arc<dyn Clock>>,
}

impl MemoryBuilder {
    /// Sets the name that errors and events show. The default is `memory`.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the clock of the store and its clients. The default is the clock of tokio.
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// Makes the store.
    pub fn build(self) -> MemoryProvider {
        let clock = self.clock.unwrap_or_else(|| Arc::new(TokioClock::new()));
        let info = ProviderInfo::new(self.name)
            .with_fencing(true)
            .with_metadata(true)
            .with_server_clock(true)
            .with_clock(Arc::clone(&clock))
            .with_store_id(format!("memory {}", BUILT.fetch_add(1, Ordering::Relaxed)));
        MemoryProvider {
            shared: Arc::new(Shared { info, clock, store: Mutex::new(Store::default()) }),
        }
    }
}

struct MemoryLock {
    shared: Arc<Shared>,
    claim: Claim,
}

impl fmt::Debug for MemoryLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemoryLock").field(&self.claim).finish()
    }
}

impl MemoryLock {
    fn attempt(&self, waiting: Waiting, floor: u64) -> Result<Attempt> {
        self.claim.mode().require_exclusive()?;
        Ok(self.shared.verb(|store, now| store.attempt(&self.claim, waiting, floor, now)))
    }
}

#[async_trait]
impl Lock for MemoryLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        self.attempt(Waiting::No, 0)
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        Ok(self.shared.verb(|store, now| store.renew(&self.claim, ttl, now)))
    }

    async fn release(&self) -> Result<Release> {
        Ok(self.shared.verb(|store, now| store.release(&self.claim, now)))
    }

    fn as_hints(&self) -> Option<&dyn Hints> {
        Some(self)
    }

    fn as_queue(&self) -> Option<&dyn Queue> {
        Some(self)
    }

    fn as_hand_over(&self) -> Option<&dyn HandOver> {
        Some(self)
    }

    fn as_fencing_floor(&self) -> Option<&dyn FencingFloor> {
        Some(self)
    }
}

#[async_trait]
impl Hints for MemoryLock {
    async fn subscribe(&self) -> Result<Subscription> {
        Ok(self.shared.verb(|store, now| store.subscribe(&self.claim, now)))
    }

    async fn try_acquire_or_listen(&self) -> Result<Attempt> {
        self.attempt(Waiting::Listen, 0)
    }
}

#[async_trait]
impl Queue for MemoryLock {
    async fn try_acquire_or_enqueue(&self) -> Result<Attempt> {
        self.attempt(Waiting::Enqueue, 0)
    }
}

#[async_trait]
impl HandOver for MemoryLock {
    async fn hand_over(&self, next: &Claim) -> Result<Transfer> {
        next.mode().require_exclusive()?;
        Ok(self.shared.verb(|store, now| store.hand_over(&self.claim, next, now)))
    }
}

#[async_trait]
impl FencingFloor for MemoryLock {
    async fn try_acquire_above(&self, floor: FencingToken) -> Result<Attempt> {
        self.attempt(Waiting::No, floor.as_u64())
    }

    async fn raise(&self, to: FencingToken) -> Result<Option<FencingToken>> {
        if to > FencingToken::MAX_RAISE {
            let message = format!("cannot raise a fencing token to {to}; the largest is 2^53 - 1");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(self.shared.verb(|store, now| store.raise(&self.claim, to, now)))
    }
}
