//! `Faults`: the script of failures, and the record of calls.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lock_core::backend::{SignalSender, Subscription, Verb};
use lock_core::clock::Moment;
use lock_core::{LockKey, Result};

use super::fault::Fault;

/// One recorded call of a [`Faulty`](super::Faulty) provider.
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
/// assert!(locks.lock("report").try_acquire().await.is_ok());
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
    /// assert!(locks.lock("report").try_acquire().await.is_ok());
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
    pub(super) fn begin(&self, verb: Verb, key: &LockKey, at: Moment) -> (usize, Option<Fault>) {
        let mut script = self.script();
        script.calls.push(Call { at, verb, key: key.clone(), answer: None });
        let line = script.calls.len() - 1;
        let position = script.faults.iter().position(|(of, _)| *of == verb);
        let next = position.and_then(|at| script.faults.remove(at));
        let standing = script.standing.iter().find(|(of, _)| *of == verb).cloned();
        (line, next.or(standing).map(|(_, fault)| fault))
    }

    pub(super) fn finish<T: fmt::Debug>(&self, line: usize, answer: &Result<T>) {
        let text = match answer {
            Ok(answer) => format!("{answer:?}"),
            Err(error) => error.to_string(),
        };
        // The record may have been emptied while the call was in flight.
        if let Some(call) = self.script().calls.get_mut(line) {
            call.answer = Some(text);
        }
    }

    pub(super) fn mute(&self) -> Subscription {
        let (sender, subscription) = Subscription::channel();
        let mut script = self.script();
        script.muted.retain(|sender| !sender.is_closed());
        script.muted.push(sender);
        subscription
    }
}
