//! Who takes part. One contender is one file and one line in [`ALL`].

pub(crate) mod distributed_lock;
pub(crate) mod floor;
pub(crate) mod memory;
pub(crate) mod ours;
pub(crate) mod rslock;

use std::{future::Future, pin::Pin, time::Duration};

use anyhow::{Context, Result};
use ours::Ours;

use crate::worker::{self, Job, Meter, Parent};

/// A kind of lock, as the scenarios see it.
pub(crate) trait Contender: Sized + Send + Sync + 'static {
    /// What it is called in tables and goals.
    const NAME: &str;
    /// Whose it is.
    const ROLE: Role;
    /// The scenarios it takes part in, by their ids.
    const PLAYS: &[&str];

    /// What its holder has.
    type Guard: Send + 'static;

    /// Connects to the server, or to several of which the URLs stand between commas; every lock of
    /// this process has the same ttl.
    fn connect(url: &str, ttl: Duration) -> impl Future<Output = Result<Self>> + Send;

    /// Waits until it holds the key.
    fn acquire(&self, key: &str) -> impl Future<Output = Result<Self::Guard>> + Send;

    /// Gives the key back; false if it was not held any more, as far as it can tell.
    fn release(&self, guard: Self::Guard) -> impl Future<Output = Result<bool>> + Send;

    /// Returns the fencing token, where there is one.
    fn fencing(_guard: &Self::Guard) -> Option<u64> {
        None
    }
}

/// Whose a contender is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A mode of ours: the goals are about these.
    Ours,
    /// Another crate.
    Rival,
    /// The least work that any implementation has to do.
    Floor,
}

/// Every scenario over Redis, those beside another library included.
pub(crate) const ON_REDIS: &[&str] =
    &["s1", "s2", "s3", "s3a", "s3b", "s4", "s5", "s6", "s8", "c1", "c2"];

/// Every scenario of another library: those over Redis, and those over a quorum.
pub(crate) const ON_ANY: &[&str] =
    &["s1", "s2", "s3", "s3a", "s3b", "s4", "s5", "s6", "v1", "v2", "v3", "v8"];

/// Everybody who takes part.
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

/// A contender by name, for tables.
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
        ALL.iter().find(|one| one.name == name).with_context(|| format!("no contender `{name}`"))
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
