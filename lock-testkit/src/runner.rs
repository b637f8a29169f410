//! Runs one case on a fresh subject, in a runtime of its own, with a time limit.

use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::{Pace, Subject};

/// The time limit of a case. A case that hangs is a bug.
const WATCHDOG: Duration = Duration::from_secs(120);

/// One named case of the suite.
///
/// # Examples
///
/// ```
/// let names: Vec<_> = lock_testkit::cases::all().into_iter().map(|case| case.name).collect();
/// assert!(names.iter().any(|name| name.contains("e1_one_of_two_owners_is_granted")));
/// ```
#[derive(Clone, Copy)]
pub struct Case {
    /// The name: the law or known bug, and the promise.
    pub name: &'static str,
    pub(crate) body: for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = ()> + 'a>>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Case").field(&self.name).finish()
    }
}

/// Runs one case on a fresh subject, with a watchdog.
///
/// The [`conformance!`](crate::conformance) macro calls this in the test of every case.
///
/// # Panics
///
/// Panics when the case fails, or does not end within two minutes.
///
/// # Examples
///
/// ```
/// use lock_memory::MemoryProvider;
/// use lock_testkit::{Pace, Subject, cases, run};
///
/// for case in cases::all().into_iter().take(3) {
///     run(Pace::Paused, case, || async { Subject::new(MemoryProvider::new()) });
/// }
/// ```
pub fn run<F, S>(pace: Pace, case: Case, subject: F)
where
    F: FnOnce() -> S + Send + 'static,
    S: Future<Output = Subject>,
{
    if let Err(panic) = check(pace, case, subject) {
        resume_unwind(panic);
    }
}

/// Runs one case and returns its panic, for the tests of a test suite.
///
/// # Errors
///
/// The payload of the panic of the case, or of the watchdog.
///
/// # Examples
///
/// ```
/// use lock_memory::MemoryProvider;
/// use lock_testkit::{Pace, Subject, cases, check};
///
/// let case = cases::all().remove(0);
/// let result = check(Pace::Paused, case, || async { Subject::new(MemoryProvider::new()) });
/// assert!(result.is_ok());
/// ```
pub fn check<F, S>(pace: Pace, case: Case, subject: F) -> std::thread::Result<()>
where
    F: FnOnce() -> S + Send + 'static,
    S: Future<Output = Subject>,
{
    let (done, result) = channel();
    let thread = std::thread::Builder::new().name(case.name.into());
    let spawned = thread.spawn(move || {
        let runtime = pace.runtime();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                let subject = subject().await.paced(pace);
                subject.check_clock().await;
                (case.body)(&subject).await;
            });
        }));
        runtime.shutdown_timeout(Duration::from_secs(1));
        let _ = done.send(outcome);
    });
    let thread = spawned.expect("a thread for the case");
    match result.recv_timeout(WATCHDOG) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => {
            Err(Box::new(format!("{} has not ended within {WATCHDOG:?}", case.name)))
        }
        Err(RecvTimeoutError::Disconnected) => thread.join(),
    }
}
