#![doc = include_str!("../README.md")]

mod clock;
mod factory;
mod faults;
mod provider;
mod store;

pub use clock::ManualClock;
pub use factory::{MemoryFactory, factory};
pub use faults::{Call, Fault, Faults, Faulty};
/// The verbs for which faults can be scripted, re-exported from lock-core.
pub use lock_core::backend::Verb;
pub use provider::{MemoryBuilder, MemoryProvider};
