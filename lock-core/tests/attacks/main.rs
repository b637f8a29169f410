//! Bugs that were found by attacking the laws, each kept from coming back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod holding;
mod line;
mod waiting;

use std::time::Duration;

use lock_core::LockClient;
use lock_memory::{Faults, MemoryProvider};

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A store, and a client whose requests to it go wrong as the script says.
fn setup() -> (MemoryProvider, Faults, LockClient) {
    let store = MemoryProvider::new();
    let faults = Faults::new();
    let client = LockClient::new(faults.around(store.clone()));
    (store, faults, client)
}
