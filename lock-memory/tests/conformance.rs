//! The whole suite on the memory store: in paused time on one thread, in real time on two threads,
//! and behind a prefix.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use lock_core::LockProvider;
use lock_core::backend::Prefixed;
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

/// The decorator of core: it must hide no optional trait and mix up no keys.
fn prefixed() -> Subject {
    let store = MemoryProvider::new();
    let (expiring, neighbour) = (store.clone(), store.clone());
    Subject::new(Prefixed::new(store, "app:").unwrap())
        .neighbour(Prefixed::new(neighbour, "app:other:").unwrap())
        .expire_with(move |key| {
            expiring.expire_now(format!("app:{key}"));
            async {}
        })
}

conformance!(memory_paused, Pace::Paused, || async { subject() });
conformance!(memory_prefixed, Pace::Paused, || async { prefixed() });
conformance!(memory_threads, Pace::Real, || async { subject() });
