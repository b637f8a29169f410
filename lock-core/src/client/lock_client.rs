//! The client: acquires locks from one provider.

use std::sync::Arc;
use std::time::Duration;

use super::acquire::Acquire;
use super::defaults::Defaults;
use super::guard::LockGuard;
use crate::backend::{Capabilities, Capability, Occupancy, ProviderInfo};
use crate::clock::Clock;
use crate::engine::Engine;
use crate::error::{Error, Operation, Result};
use crate::observe::Counts;
use crate::value::{LockKey, OwnerToken};

/// Acquires locks from one provider.
///
/// **A paused process can outlive its lease.** It may wake up and write after another holder took
/// over. Send the fencing token with every write, and have the resource reject smaller tokens.
///
/// # What a lease cannot promise
///
/// A lock with a ttl is a *lease*: the store grants the key to another owner when the ttl is over,
/// whatever the holder does. A holder that is paused for longer than that (a stopped VM, a
/// swapped-out process, a suspended laptop) does not notice. A check before a write does not help,
/// because the pause may come right after the check.
///
/// | what to do | what it achieves |
/// |---|---|
/// | Send the [`fencing_token`](crate::Lease::fencing_token) with every write. Have the resource reject smaller ones, as a [`FencingGate`](crate::fencing::FencingGate) does. | A late write changes nothing. |
/// | Check [`is_held`](crate::Lease::is_held) between steps, or let [`Acquire::run`] stop the work when the lock is lost. | Little work is wasted. |
/// | Choose a ttl well above the pauses that you expect, and renew the lease while you work. | Losses are rare. |
///
/// Stores differ in what they promise during a failover. The documentation of each provider has a
/// table.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use lock_core::LockClient;
/// use std::time::Duration;
///
/// let locks = LockClient::new(lock_memory::MemoryProvider::new());
///
/// let guard = locks
///     .lock("invoice/42")
///     .ttl(Duration::from_secs(30))
///     .wait_at_most(Duration::from_secs(5))
///     .acquire()
///     .await?;
/// // … write to the ledger with guard.fencing_token() …
/// guard.release().await?;
///
/// // The same, renewed while the work runs, and the work dropped if the lock is lost:
/// let total = locks.lock("invoice/42").run(|lease| async move {
///     println!("holding {} with {:?}", lease.key(), lease.fencing_token());
///     42
/// }).await?;
/// assert_eq!(total, 42);
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct LockClient {
    pub(super) engine: Arc<Engine>,
    pub(super) defaults: Defaults,
}

impl LockClient {
    /// The ttl of acquisitions, unless configured: 30 seconds.
    pub const DEFAULT_TTL: Duration = Duration::from_secs(30);
    /// How long acquisitions wait, unless configured: 60 seconds.
    ///
    /// This is twice the default ttl, so the lease of a crashed holder has ended by then.
    pub const DEFAULT_WAIT: Duration = Duration::from_secs(60);
    /// The time limit of one request, unless configured: 2 seconds.
    pub const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
    /// How long an acquisition retries a failing backend, unless configured: 5 seconds.
    pub const DEFAULT_UNAVAILABLE_AFTER: Duration = Duration::from_secs(5);

    /// Describes an acquisition of the lock named `key`.
    ///
    /// Nothing is sent until a verb of the returned [`Acquire`] is awaited. That verb also reports
    /// an invalid key.
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
    /// let acquire = locks.lock("invoice/42"); // no request yet
    /// let guard = acquire.acquire().await?;
    ///
    /// let refused = locks.lock("").acquire().await.unwrap_err(); // a bad key is reported here
    /// assert!(refused.is_invalid());
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn lock<K>(&self, key: K) -> Acquire
    where
        K: TryInto<LockKey>,
        Error: From<K::Error>,
    {
        let (engine, defaults) = (Arc::clone(&self.engine), self.defaults.clone());
        Acquire::new(engine, defaults, key.try_into().map_err(Error::from))
    }

    /// Takes over a lock from a guard that was [detached](LockGuard::detach), here or in another
    /// process.
    ///
    /// The lease is renewed to the default ttl. Use [`Acquire::resume`] to choose another one.
    ///
    /// # Errors
    ///
    /// As [`Acquire::resume`].
    ///
    /// # Cancel safety
    ///
    /// As [`Acquire::resume`].
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
    /// let token = locks.lock("upload/7").acquire().await?.detach().await;
    ///
    /// // In the process that carries on:
    /// let guard = locks.resume("upload/7", token).await?;
    /// guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn resume<K>(&self, key: K, token: OwnerToken) -> Result<LockGuard>
    where
        K: TryInto<LockKey>,
        Error: From<K::Error>,
    {
        self.lock(key).owner_token(token).resume().await
    }

    /// Reports who holds a key, without side effects (law I1).
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) | the provider does not have [`Capability::Inspect`] |
    /// | [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) | the key is invalid |
    /// | any other | the backend failed |
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
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// assert!(locks.inspect("invoice/42").await?.is_free());
    ///
    /// let guard = locks.lock("invoice/42").metadata("billing@host-3").acquire().await?;
    /// let occupancy = locks.inspect("invoice/42").await?;
    /// let holder = occupancy.holder().expect("the key is held");
    /// assert_eq!((holder.owner(), holder.fencing()), (guard.owner(), guard.fencing_token()));
    /// println!("held by {}", holder.metadata());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn inspect<K>(&self, key: K) -> Result<Occupancy>
    where
        K: TryInto<LockKey>,
        Error: From<K::Error>,
    {
        let name = self.info().shared_name();
        let unkeyed = |error: Error| error.in_operation(Operation::Inspect, None, name);
        let key = key.try_into().map_err(|error| unkeyed(Error::from(error)))?;
        self.engine.inspect(&key).await
    }

    /// Checks that the provider has the capabilities that the application needs.
    ///
    /// Call it at start-up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported), naming the provider and the first
    /// capability it lacks.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::Capability;
    ///
    /// # let locks = LockClient::new(MemoryProvider::new());
    /// locks.require([Capability::Fencing, Capability::Queue])?; // at start-up
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn require(&self, needed: impl IntoIterator<Item = Capability>) -> Result<()> {
        self.capabilities().require(self.info().name(), needed)
    }

    /// Returns the capabilities of the provider.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::Capability;
    ///
    /// # let locks = LockClient::new(MemoryProvider::new());
    /// let can_inspect = locks.capabilities().has(Capability::Inspect);
    /// assert!(can_inspect);
    /// ```
    pub fn capabilities(&self) -> Capabilities {
        Capabilities::of(&*self.engine.provider)
    }

    /// Returns the description of the provider.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// # let locks = LockClient::new(MemoryProvider::new());
    /// let info = locks.info();
    /// assert_eq!(info.name(), "memory");
    /// assert_eq!(info.ttls().end().as_duration().as_secs(), 365 * 24 * 60 * 60);
    /// ```
    pub fn info(&self) -> &ProviderInfo {
        self.engine.provider.info()
    }

    /// Returns the name that the client has in its events, if it was given one.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// assert_eq!(LockClient::new(MemoryProvider::new()).name(), None);
    /// ```
    pub fn name(&self) -> Option<&str> {
        self.engine.source.client.as_deref()
    }

    /// Counts the locks that this client and its clones hold and wait for now.
    ///
    /// See [`Counts`] for what they are without an observer.
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
    /// let counts = locks.counts();
    /// println!("locks_held {}\nlocks_acquiring {}", counts.held, counts.acquiring);
    /// # Ok(())
    /// # }
    /// ```
    pub fn counts(&self) -> Counts {
        let Engine { numbers, reporter, .. } = &*self.engine;
        let (held, acquiring) = (numbers.held(), numbers.acquiring());
        Counts { held, acquiring, events_dropped: reporter.dropped() }
    }

    /// Waits for the background work of this client and its clones. Await it before the process
    /// exits.
    ///
    /// 1. It waits until the releases of dropped guards, and the undos of dropped acquisitions, have
    ///    ended. Each is retried for about one ttl, and for a minute at most.
    /// 2. It waits for the observer, as [`flush`](Self::flush) does.
    ///
    /// Put a timeout around it, as the example does. A key that was not released by then stays
    /// locked until its ttl ends.
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
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// drop(locks.lock("invoice/42").acquire().await?); // released in the background
    ///
    /// if tokio::time::timeout(Duration::from_secs(5), locks.drain()).await.is_err() {
    ///     eprintln!("some keys stay locked until their ttl ends");
    /// }
    /// assert!(locks.inspect("invoice/42").await?.is_free());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn drain(&self) {
        self.engine.numbers.background_idle().await;
        self.flush().await;
    }

    /// Waits until the observer has received every event that was reported before this call.
    ///
    /// It never returns if the observer hangs, so put a timeout around it. Without an observer, it
    /// returns at once.
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
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let flushed = tokio::time::timeout(Duration::from_secs(1), locks.flush());
    /// if flushed.await.is_err() {
    ///     eprintln!("the observer did not receive the last events");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn flush(&self) {
        self.engine.reporter.flush().await;
    }

    /// Returns the clock that leases are measured with.
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
    /// let until = guard.held_until().expect("it is held");
    /// let left = until.since(locks.clock().now());
    /// assert!(left > Duration::from_secs(25) && left < Duration::from_secs(30));
    /// # Ok(())
    /// # }
    /// ```
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.engine.clock
    }
}
