//! Scripted failures and a record of calls, for any provider.

mod fault;
mod faulty;
mod script;

pub use fault::Fault;
pub use faulty::Faulty;
pub use script::{Call, Faults};
