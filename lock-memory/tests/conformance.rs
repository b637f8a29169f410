//! The whole suite on the memory store: in paused time on one thread, and in real time on two.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use lock_core::LockProvider;
use lock_memory::MemoryProvider;
use lock_testkit::{Pace, Subject, conformance};

fn subject() -> Subject {
    let store = MemoryProvider::new();
    let expiring = store.clone();
    assert!(store.info().clock().is_some());
    Subject::new(store).expire_with(move |key| {
        expiring.expire_now(&key);
        async {}
    })
}

conformance!(memory_paused, Pace::Paused, || async { subject() });
conformance!(memory_threads, Pace::Real, || async { subject() });
