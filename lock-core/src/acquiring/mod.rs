//! Acquiring a lock: attempts, the waits between them, and the undo.

mod acquisition;
mod listening;
mod schedule;
mod seen;
mod wait;
mod wait_settings;

pub(crate) use acquisition::Acquisition;
pub(crate) use wait_settings::{Wait, WaitSettings};
