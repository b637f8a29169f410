#![doc = include_str!("../README.md")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test library fails by panicking"
)]

pub mod cases;
mod history;
mod macros;
mod mock;
mod model;
mod pace;
mod property;
mod runner;
mod subject;

pub use history::History;
pub use mock::{MockLock, MockLockProvider};
pub use pace::Pace;
pub use runner::{Case, check, run};
pub use subject::Subject;

/// Scripted faults to put around any provider.
pub use lock_memory::{Call, Fault, Faults, Faulty, Verb};
