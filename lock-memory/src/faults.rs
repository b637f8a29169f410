//! `Faults`: scripted failures and a record of calls, for any provider.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lock_core::backend::{
    Attempt, Claim, Effect, FencingFloor, HandOver, Hints, Inspect, ProviderInfo, Queue, Release,
    Renewal, SignalSender, Subscription, Transfer, Ttl,
};
use lock_core::clock::{Clock, Moment, SystemClock};
use lock_core::{Error, ErrorKind, FencingToken, Lock, LockKey, LockProvider, Occupancy, Result};

/// The verbs of a provider and its locks, for which faults are scripted.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
/// # let faults = Faults::new();
/// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
///
/// faults.next(Verb::Renew, 1, Fault::LoseAnswer);
/// let guard = locks.lock("report").acquire().await?;
/// assert!(guard.renew(Duration::from_secs(60)).await.is_err());
/// assert!(guard.is_held()); // the outcome is unknown, which is no loss
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Every attempt: plain, above a floor, or one that joins the waiters.
    TryAcquire,
    /// [`Lock::renew`].
    Renew,
    /// [`Lock::release`].
    Release,
    /// [`FencingFloor::raise`].
    Raise,
    /// [`HandOver::hand_over`].
    HandOver,
    /// [`Inspect::inspect`].
    Inspect,
    /// [`Hints::subscribe`].
    Subscribe,
}

/// A fault of one call.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
/// # let faults = Faults::new();
/// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
///
/// faults.next(Verb::Release, 1, Fault::LoseAnswer);
/// let guard = locks.lock("report").acquire().await?;
/// let failed = guard.release().await.unwrap_err();
/// let guard = failed.into_guard().expect("the lock was not lost");
/// guard.release().await?; // the second request confirms the first
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with this error and changes nothing.
    Fail(Error),
    /// The call takes effect, but its answer is lost. The caller gets an error with an unknown
    /// effect.
    LoseAnswer,
    /// The call takes effect at once, and its answer comes this much later.
    DelayAnswer(Duration),
    /// The call takes effect this much later, even if its caller has gone.
    Late(Duration),
    /// The backend panics.
    Panic,
    /// The subscription ends at once.
    EndSubscription,
    /// The subscription never gets a signal.
    MuteSubscription,
}

impl Fault {
    /// Makes the fault of a backend that cannot be reached.
    ///
    /// Nothing happens, and the caller gets [`ErrorKind::Unavailable`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    ///
    /// faults.next(Verb::TryAcquire, 1, Fault::unavailable());
    /// assert!(locks.lock("report").try_acquire().await.unwrap_err().is_unavailable());
    /// # Ok(())
    /// # }
    /// ```
    pub fn unavailable() -> Self {
        let error = Error::new(ErrorKind::Unavailable, "injected: the backend is out of reach");
        Self::Fail(error.with_effect(Effect::NotApplied))
    }
}

/// One recorded call of a [`Faulty`] provider.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
/// # let faults = Faults::new();
/// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
///
/// locks.lock("report").try_acquire().await?;
/// let calls = faults.calls();
/// assert_eq!((calls[0].verb, calls[0].key.as_str()), (Verb::TryAcquire, "report"));
/// println!("{:?}: {:?}", calls[0].at, calls[0].answer);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The moment of the call, on the clock of the provider.
    pub at: Moment,
    /// The verb that was called.
    pub verb: Verb,
    /// The key.
    pub key: LockKey,
    /// The answer or error as text. `None` while the call is in flight, and if its caller has
    /// dropped it.
    pub answer: Option<String>,
}

/// A script of faults and a record of calls, for the providers that it wraps.
///
/// The faults of a verb are used up in the order in which they were added. The same inputs give the
/// same record.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use lock_core::LockClient;
/// use lock_memory::{Fault, Faults, MemoryProvider, Verb};
///
/// let faults = Faults::new();
/// let locks = LockClient::new(faults.around(MemoryProvider::new()));
/// faults.next(Verb::TryAcquire, 1, Fault::unavailable());
///
/// assert!(locks.lock("report").try_acquire().await.unwrap_err().is_unavailable());
/// assert!(locks.lock("report").try_acquire().await?.is_some());
/// assert_eq!(faults.count(Verb::TryAcquire), 2);
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct Faults {
    script: Arc<Mutex<Script>>,
}

#[derive(Debug, Default)]
struct Script {
    /// Each is used up by one call.
    faults: VecDeque<(Verb, Fault)>,
    /// The faults of calls that have none in `faults`.
    standing: Vec<(Verb, Fault)>,
    calls: Vec<Call>,
    /// Keeps muted subscriptions open.
    muted: Vec<SignalSender>,
}

impl Faults {
    /// Makes an empty script.
    pub fn new() -> Self {
        Self::default()
    }

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
    /// assert!(locks.lock("report").try_acquire().await?.is_some()); // no fault is scripted
    /// # Ok(())
    /// # }
    /// ```
    pub fn around<P: LockProvider>(&self, provider: P) -> Faulty<P> {
        let clock = provider.info().clock().cloned().unwrap_or_else(|| Arc::new(SystemClock));
        Faulty { provider: Arc::new(provider), faults: self.clone(), clock }
    }

    /// Adds a fault to the next `calls` calls of a verb that have none yet.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    ///
    /// faults.next(Verb::TryAcquire, 2, Fault::unavailable());
    /// let guard = locks.lock("report").acquire().await?; // the third attempt succeeds
    /// assert!(faults.count(Verb::TryAcquire) >= 3);
    /// # guard.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn next(&self, verb: Verb, calls: usize, fault: Fault) {
        self.script().faults.extend((0..calls).map(|_| (verb, fault.clone())));
    }

    /// Adds a fault to every call of a verb, until [`clear`](Faults::clear).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    ///
    /// let guard = locks.lock("k").ttl(Duration::from_millis(90)).auto_renew().acquire().await?;
    /// faults.always(Verb::Renew, Fault::unavailable());
    /// assert!(guard.lost().await.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn always(&self, verb: Verb, fault: Fault) {
        self.script().standing.push((verb, fault));
    }

    /// Removes all faults.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    ///
    /// faults.always(Verb::TryAcquire, Fault::unavailable());
    /// faults.clear();
    /// assert!(locks.lock("report").try_acquire().await?.is_some());
    /// # Ok(())
    /// # }
    /// ```
    pub fn clear(&self) {
        let mut script = self.script();
        script.faults.clear();
        script.standing.clear();
    }

    /// Returns the recorded calls, the oldest first.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    ///
    /// locks.lock("report").try_acquire().await?;
    /// assert_eq!(faults.calls().len(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn calls(&self) -> Vec<Call> {
        self.script().calls.clone()
    }

    /// Empties the record.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    ///
    /// let guard = locks.lock("report").acquire().await?;
    /// faults.forget_calls();
    /// guard.release().await?;
    /// assert!(faults.calls().iter().all(|call| call.verb == Verb::Release));
    /// # Ok(())
    /// # }
    /// ```
    pub fn forget_calls(&self) {
        self.script().calls.clear();
    }

    /// Returns the number of recorded calls of a verb.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    ///
    /// locks.lock("report").try_acquire().await?;
    /// assert_eq!(faults.count(Verb::TryAcquire), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn count(&self, verb: Verb) -> usize {
        self.script().calls.iter().filter(|call| call.verb == verb).count()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next fault of a verb and records its call.
    fn begin(&self, verb: Verb, key: &LockKey, at: Moment) -> (usize, Option<Fault>) {
        let mut script = self.script();
        script.calls.push(Call { at, verb, key: key.clone(), answer: None });
        let line = script.calls.len() - 1;
        let position = script.faults.iter().position(|(of, _)| *of == verb);
        let next = position.and_then(|at| script.faults.remove(at));
        let standing = script.standing.iter().find(|(of, _)| *of == verb).cloned();
        (line, next.or(standing).map(|(_, fault)| fault))
    }

    fn finish<T: fmt::Debug>(&self, line: usize, answer: &Result<T>) {
        let text = match answer {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => error.to_string(),
        };
        // The record may have been emptied while the call was in flight.
        if let Some(call) = self.script().calls.get_mut(line) {
            call.answer = Some(text);
        }
    }

    fn mute(&self) -> Subscription {
        let (sender, subscription) = Subscription::channel();
        let mut script = self.script();
        script.muted.retain(|sender| !sender.is_closed());
        script.muted.push(sender);
        subscription
    }
}

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
                self.clock.sleep_until(self.clock.now().after(delay)).await;
                answer
            }
            Some(Fault::Late(delay)) => {
                let timer = self.clock.sleep_until(self.clock.now().after(delay));
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
