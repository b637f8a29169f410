//! Quorums of memory stores in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use lock_core::Quorum;
use lock_memory::MemoryProvider;
use lock_testkit::{Pace, Subject, conformance};

fn subject(size: usize) -> Subject {
    let nodes: Vec<_> = (0..size).map(|_| MemoryProvider::new()).collect();
    let stores = nodes.clone();
    Subject::new(Quorum::of(nodes).unwrap()).expire_with(move |key| {
        stores.iter().for_each(|store| store.expire_now(&key));
        async {}
    })
}

conformance!(quorum_of_3, Pace::Paused, || async { subject(3) });
conformance!(quorum_of_5, Pace::Paused, || async { subject(5) });
