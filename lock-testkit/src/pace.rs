//! `Pace`: whether the cases run in real time or in tokio's paused time.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// Sets how time passes while a case runs.
///
/// # Examples
///
/// ```
/// use lock_memory::MemoryProvider;
/// use lock_testkit::{Pace, Subject, cases, run};
///
/// let case = cases::all().remove(0);
/// run(Pace::Paused, case, || async { Subject::new(MemoryProvider::new()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Real time, on a runtime with two threads.
    Real,
    /// The paused time of tokio, on one thread. When every task waits, time jumps to the next
    /// timer.
    ///
    /// For stores in this process whose time is a [`TokioClock`](lock_core::clock::TokioClock). The
    /// provider brings the same clock with
    /// [`with_clock`](lock_core::backend::ProviderInfo::with_clock). A case of another provider fails
    /// at once.
    Paused,
}

impl Pace {
    /// Returns the unit of ttls and waits, which a loaded machine can keep in real time.
    pub(crate) const fn unit(self) -> Duration {
        match self {
            Self::Real => Duration::from_millis(500),
            Self::Paused => Duration::from_secs(10),
        }
    }

    pub(crate) fn runtime(self) -> Runtime {
        match self {
            Self::Real => Builder::new_multi_thread().worker_threads(2).enable_all().build(),
            Self::Paused => Builder::new_current_thread().enable_all().start_paused(true).build(),
        }
        .expect("a tokio runtime")
    }
}
