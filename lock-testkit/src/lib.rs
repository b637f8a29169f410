#![doc = include_str!("../README.md")]
// docs.rs compiles with nightly and this flag: each item then shows the feature it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test library fails by panicking"
)]

#[doc(hidden)]
pub mod cases;
mod handle;
mod history;
mod macros;
#[cfg(feature = "mocks")]
mod mock;
#[cfg(feature = "schedules")]
mod model;
mod pace;
#[cfg(feature = "schedules")]
mod property;
mod runner;
mod subject;

pub use history::History;
#[cfg(feature = "mocks")]
pub use mock::{MockLock, MockLockProvider};
pub use pace::Pace;
#[doc(hidden)]
pub use runner::{Case, check, run};
pub use subject::Subject;

/// Stands for the case that is missing, so that no run of it passes.
#[cfg(not(feature = "schedules"))]
#[doc(hidden)]
pub fn without_schedules() {
    panic!("random schedules need the feature `schedules` of lock-testkit");
}
