//! `Faults`: scripted failures, and a record of calls, around any provider.

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

/// The verbs of a provider and its locks, to aim faults at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Any attempt: plain, above a floor, or one that takes a place among the waiters.
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

/// What goes wrong with one call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with this error and changes nothing.
    Fail(Error),
    /// The call takes effect, but its answer is lost: the caller gets an error that says *unknown*.
    LoseAnswer,
    /// The call takes effect at once; its answer comes this much later.
    DelayAnswer(Duration),
    /// The call takes effect this much later, even if nobody waits for it any more.
    Late(Duration),
    /// The backend panics.
    Panic,
    /// A subscription that ends at once.
    EndSubscription,
    /// A subscription that never signals.
    MuteSubscription,
}

impl Fault {
    /// A backend out of reach: nothing happens, and the caller gets
    /// [`ErrorKind::Unavailable`].
    pub fn unavailable() -> Self {
        let error = Error::new(ErrorKind::Unavailable, "injected: the backend is out of reach");
        Self::Fail(error.with_effect(Effect::NotApplied))
    }
}

/// One call that a [`Faulty`] provider has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// When it was made, on the provider's clock.
    pub at: Moment,
    /// What was called.
    pub verb: Verb,
    /// On which key.
    pub key: LockKey,
    /// What came of it: the answer or error as text, `None` while it is under way or when its caller
    /// has dropped it.
    pub answer: Option<String>,
}

/// A script of faults and a record of calls, shared with the providers it is put around.
///
/// Faults for a verb are used up in the order in which they were added. The same inputs give the
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
    faults: VecDeque<(Verb, Fault)>,
    /// For calls that have no fault of their own.
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

    /// Puts this script between a provider and its callers.
    pub fn around<P: LockProvider>(&self, provider: P) -> Faulty<P> {
        let clock = provider.info().clock().cloned().unwrap_or_else(|| Arc::new(SystemClock));
        Faulty { provider: Arc::new(provider), faults: self.clone(), clock }
    }

    /// Lets the next `calls` calls of a verb go wrong that have no fault yet.
    pub fn next(&self, verb: Verb, calls: usize, fault: Fault) {
        self.script().faults.extend((0..calls).map(|_| (verb, fault.clone())));
    }

    /// Lets every call of a verb go wrong from now on, until [`clear`](Faults::clear).
    pub fn always(&self, verb: Verb, fault: Fault) {
        self.script().standing.push((verb, fault));
    }

    /// Removes every fault that has not been used up.
    pub fn clear(&self) {
        let mut script = self.script();
        script.faults.clear();
        script.standing.clear();
    }

    /// Returns the record of calls, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.script().calls.clone()
    }

    /// Empties the record.
    pub fn forget_calls(&self) {
        self.script().calls.clear();
    }

    /// Counts the calls of a verb.
    pub fn count(&self, verb: Verb) -> usize {
        self.script().calls.iter().filter(|call| call.verb == verb).count()
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the next fault for a verb and opens a line in the record.
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
        // The record may have been emptied while the call was under way.
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

/// A provider whose calls go wrong as a [`Faults`] script says.
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

/// What a decorated lock answers that has lost an ability: abilities never change.
fn lacking() -> Error {
    Error::new(ErrorKind::Unsupported, "the decorated provider has lost an ability")
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
