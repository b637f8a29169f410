#![doc = include_str!("../README.md")]

mod clock;
mod factory;
mod faults;
mod provider;
mod store;

pub use clock::ManualClock;
pub use factory::{MemoryFactory, factory};
pub use faults::{Call, Fault, Faults, Faulty, Verb};
pub use provider::{MemoryBuilder, MemoryProvider};
