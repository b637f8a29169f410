//! The contenders that take part: one line per contender in [`ALL`].

use std::{future::Future, pin::Pin};

use anyhow::{Context, Result};

use crate::contender::ours::{self, Ours};
use crate::contender::{Contender, Role, distributed_lock, floor, memory, rslock};
use crate::worker::{self, Job, Meter, Parent};

/// Every contender that takes part.
pub(crate) const ALL: &[Entry] = &[
    Entry::of::<Ours<ours::Plain>>(),
    Entry::of::<Ours<ours::Fifo>>(),
    Entry::of::<Ours<ours::Race>>(),
    Entry::of::<Ours<ours::Renewed>>(),
    Entry::of::<Ours<ours::OfFive>>(),
    Entry::of::<floor::raw::Raw>(),
    Entry::of::<floor::same_script::SameScript>(),
    Entry::of::<floor::store_queue::StoreQueue>(),
    Entry::of::<floor::publish::Publish>(),
    Entry::of::<floor::parallel::Parallel>(),
    Entry::of::<floor::parallel::ParallelScripts>(),
    Entry::of::<rslock::Rslock>(),
    Entry::of::<distributed_lock::DistributedLock>(),
    Entry::of::<memory::ours::OursInMemory>(),
    Entry::of::<memory::lockable::Lockable>(),
    Entry::of::<memory::mutex_map::MutexMap>(),
];

type Work = Pin<Box<dyn Future<Output = Result<()>> + Send>>;

/// A contender, without its type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) plays: &'static [&'static str],
    /// Does a job as this contender.
    pub(crate) work: fn(Job, Parent, Meter) -> Work,
}

impl Entry {
    const fn of<C: Contender>() -> Self {
        Self {
            name: C::NAME,
            role: C::ROLE,
            plays: C::PLAYS,
            work: |job, parent, meter| Box::pin(worker::work::<C>(job, parent, meter)),
        }
    }

    pub(crate) fn named(name: &str) -> Result<&'static Self> {
        ALL.iter()
            .find(|one| one.name == name)
            .with_context(|| format!("there is no contender `{name}`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_contenders_share_a_name() {
        let names: std::collections::BTreeSet<_> = ALL.iter().map(|one| one.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
