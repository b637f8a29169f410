//! What a contender is. One contender is one file here and one line in [`ALL`](crate::entry::ALL).

pub(crate) mod distributed_lock;
pub(crate) mod floor;
pub(crate) mod memory;
pub(crate) mod ours;
pub(crate) mod rslock;

use std::{future::Future, time::Duration};

use anyhow::Result;

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
