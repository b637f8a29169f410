//! Acquiring a lock: attempts, the waits between them, and the undo.

mod acquisition;
mod listening;
mod patience;
mod schedule;
mod seen;
mod wait;

pub(crate) use acquisition::Acquisition;
pub(crate) use patience::{Patience, Wait};
