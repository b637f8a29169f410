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
    /// Its name in tables and goals.
    const NAME: &str;
    /// What it is compared as.
    const ROLE: Role;
    /// The scenarios it takes part in, by their ids.
    const PLAYS: &[&str];

    /// What a holder has until it releases.
    type Guard: Send + 'static;

    /// Connects to a server, or to several servers whose URLs are separated by commas. Every lock
    /// of this process has the same ttl.
    fn connect(url: &str, ttl: Duration) -> impl Future<Output = Result<Self>> + Send;

    /// Waits until the key is held.
    fn acquire(&self, key: &str) -> impl Future<Output = Result<Self::Guard>> + Send;

    /// Releases the key. Returns false if the library reports that the key was no longer held.
    fn release(&self, guard: Self::Guard) -> impl Future<Output = Result<bool>> + Send;

    /// Returns the fencing token, if there is one.
    fn fencing(_guard: &Self::Guard) -> Option<u64> {
        None
    }
}

/// What a contender is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// One of our locks. The goals apply to these.
    Ours,
    /// Another crate.
    Rival,
    /// A minimal implementation.
    Floor,
}

/// Every scenario on one Redis server, including those against another library.
pub(crate) const ON_REDIS: &[&str] =
    &["s1", "s2", "s3", "s3a", "s3b", "s4", "s5", "s6", "s8", "c1", "c2"];

/// The scenarios that every other library takes part in, on one Redis server and on a quorum.
pub(crate) const ON_ANY: &[&str] =
    &["s1", "s2", "s3", "s3a", "s3b", "s4", "s5", "s6", "v1", "v2", "v3", "v8"];
