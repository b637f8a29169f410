//! `Faulty`: a provider and its locks whose calls follow a script.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use async_trait::async_trait;
use lock_core::backend::{
    Attempt, Claim, FencingFloor, HandOver, Hints, Inspect, ProviderInfo, Queue, Release, Renewal,
    Subscription, Transfer, Ttl, Verb,
};
use lock_core::clock::{Clock, SystemClock};
use lock_core::{Error, ErrorKind, FencingToken, Lock, LockKey, LockProvider, Occupancy, Result};

use super::fault::Fault;
use super::script::Faults;

/// A provider whose calls follow a [`Faults`] script.
///
/// # Examples
///
/// ```
/// use lock_core::LockProvider;
/// use lock_memory::{Faults, Faulty, MemoryProvider};
///
/// let provider: Faulty<MemoryProvider> = Faults::new().around(MemoryProvider::new());
/// assert_eq!(provider.info().name(), "memory"); // that of the provider inside
/// ```
pub struct Faulty<P> {
    provider: Arc<P>,
    faults: Faults,
    clock: Arc<dyn Clock>,
}

impl Faults {
    /// Wraps a provider, so that its calls follow this script.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// let faults = Faults::new();
    /// let locks = LockClient::new(faults.around(MemoryProvider::new()));
    /// assert!(locks.lock("report").try_acquire().await.is_ok()); // no fault is scripted
    /// # Ok(())
    /// # }
    /// ```
    pub fn around<P: LockProvider>(&self, provider: P) -> Faulty<P> {
        let clock = provider.info().clock().cloned().unwrap_or_else(|| Arc::new(SystemClock));
        Faulty { provider: Arc::new(provider), faults: self.clone(), clock }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<P: LockProvider> LockProvider for Faulty<P> {
    fn info(&self) -> &ProviderInfo {
        self.provider.info()
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        Arc::new(FaultyLock {
            key: claim.key().clone(),
            lock: self.provider.lock(claim),
            calls: Calls { faults: self.faults.clone(), clock: Arc::clone(&self.clock) },
        })
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        self.provider.as_inspect().map(|_| self as _)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: LockProvider> Inspect for Faulty<P> {
    async fn inspect(&self, key: &LockKey) -> Result<Occupancy> {
        let provider = Arc::clone(&self.provider);
        let asked = key.clone();
        let request =
            async move { provider.as_inspect().ok_or_else(lacking)?.inspect(&asked).await };
        let calls = Calls { faults: self.faults.clone(), clock: Arc::clone(&self.clock) };
        calls.call(Verb::Inspect, key, request).await
    }
}

/// Makes the error of a wrapped provider that has lost an optional trait, which the contract
/// forbids.
fn lacking() -> Error {
    Error::new(ErrorKind::Unsupported, "the wrapped provider has lost an optional trait")
}

impl<P: LockProvider> fmt::Debug for Faulty<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faulty").field(&self.provider).finish()
    }
}

struct FaultyLock {
    key: LockKey,
    lock: Arc<dyn Lock>,
    calls: Calls,
}

/// Where calls are recorded, and what goes wrong with them.
struct Calls {
    faults: Faults,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for FaultyLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FaultyLock").field(&self.lock).finish()
    }
}

impl Calls {
    async fn call<T, F>(&self, verb: Verb, key: &LockKey, request: F) -> Result<T>
    where
        T: fmt::Debug + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (line, fault) = self.faults.begin(verb, key, self.clock.now());
        let answer = self.suffer(fault, request).await;
        self.faults.finish(line, &answer);
        answer
    }

    #[allow(clippy::panic, reason = "a panic is what was asked for")]
    async fn suffer<T, F>(&self, fault: Option<Fault>, request: F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        match fault {
            None | Some(Fault::EndSubscription | Fault::MuteSubscription) => request.await,
            Some(Fault::Fail(error)) => Err(error),
            Some(Fault::LoseAnswer) => {
                request.await?;
                Err(Error::new(ErrorKind::Unavailable, "injected: the answer was lost"))
            }
            Some(Fault::DelayAnswer(delay)) => {
                let answer = request.await;
                self.clock.sleep(delay).await;
                answer
            }
            Some(Fault::Late(delay)) => {
                let timer = self.clock.sleep(delay);
                let late = tokio::spawn(async move {
                    timer.await;
                    request.await
                });
                late.await.unwrap_or_else(|gone| {
                    let message = "injected: the late call never finished";
                    Err(Error::new(ErrorKind::Unavailable, message).with_source(gone))
                })
            }
            Some(Fault::Panic) => panic!("injected"),
        }
    }
}

impl FaultyLock {
    async fn call<T, F>(&self, verb: Verb, request: impl FnOnce(Arc<dyn Lock>) -> F) -> Result<T>
    where
        T: fmt::Debug + Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.calls.call(verb, &self.key, request(Arc::clone(&self.lock))).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lock for FaultyLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        self.call(Verb::TryAcquire, |lock| async move { lock.try_acquire().await }).await
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        self.call(Verb::Renew, move |lock| async move { lock.renew(ttl).await }).await
    }

    async fn release(&self) -> Result<Release> {
        self.call(Verb::Release, |lock| async move { lock.release().await }).await
    }

    fn as_hints(&self) -> Option<&dyn Hints> {
        self.lock.as_hints().map(|_| self as _)
    }

    fn as_queue(&self) -> Option<&dyn Queue> {
        self.lock.as_queue().map(|_| self as _)
    }

    fn as_hand_over(&self) -> Option<&dyn HandOver> {
        self.lock.as_hand_over().map(|_| self as _)
    }

    fn as_fencing_floor(&self) -> Option<&dyn FencingFloor> {
        self.lock.as_fencing_floor().map(|_| self as _)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Hints for FaultyLock {
    async fn subscribe(&self) -> Result<Subscription> {
        let Calls { faults, clock } = &self.calls;
        let (line, fault) = faults.begin(Verb::Subscribe, &self.key, clock.now());
        let answer = match fault {
            Some(Fault::EndSubscription) => Ok(Subscription::channel().1),
            Some(Fault::MuteSubscription) => Ok(faults.mute()),
            other => {
                let lock = Arc::clone(&self.lock);
                let request = async move { lock.as_hints().ok_or_else(lacking)?.subscribe().await };
                self.calls.suffer(other, request).await
            }
        };
        faults.finish(line, &answer);
        answer
    }

    async fn try_acquire_or_listen(&self) -> Result<Attempt> {
        self.call(Verb::TryAcquire, |lock| async move {
            lock.as_hints().ok_or_else(lacking)?.try_acquire_or_listen().await
        })
        .await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Queue for FaultyLock {
    async fn try_acquire_or_enqueue(&self) -> Result<Attempt> {
        self.call(Verb::TryAcquire, |lock| async move {
            lock.as_queue().ok_or_else(lacking)?.try_acquire_or_enqueue().await
        })
        .await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl HandOver for FaultyLock {
    async fn hand_over(&self, next: &Claim) -> Result<Transfer> {
        let next = next.clone();
        self.call(Verb::HandOver, |lock| async move {
            lock.as_hand_over().ok_or_else(lacking)?.hand_over(&next).await
        })
        .await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FencingFloor for FaultyLock {
    async fn try_acquire_above(&self, floor: FencingToken) -> Result<Attempt> {
        self.call(Verb::TryAcquire, move |lock| async move {
            lock.as_fencing_floor().ok_or_else(lacking)?.try_acquire_above(floor).await
        })
        .await
    }

    async fn raise(&self, to: FencingToken) -> Result<Option<FencingToken>> {
        self.call(Verb::Raise, move |lock| async move {
            lock.as_fencing_floor().ok_or_else(lacking)?.raise(to).await
        })
        .await
    }
}
