//! Which processor cores a process and its children may use.

use anyhow::Result;
use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Binds this thread, and the processes that it starts, to one core until this is dropped.
///
/// A server and one client take turns. On two cores, each core sleeps while the other one works.
/// Waking it takes several times as long as the work, and the scheduler decides whether it sleeps.
#[derive(Debug)]
pub(crate) struct OneCore {
    before: CpuSet,
}

impl OneCore {
    pub(crate) fn enter() -> Result<Self> {
        let before = sched_getaffinity(None)?;
        let mut one = CpuSet::new();
        one.set(sched_getcpu());
        sched_setaffinity(None, &one)?;
        Ok(Self { before })
    }
}

impl Drop for OneCore {
    fn drop(&mut self) {
        let _ = sched_setaffinity(None, &self.before);
    }
}
