//! Acquiring: attempts, waiting between them, and what is left when the caller goes away.

mod acquisition;
mod listening;
mod patience;
mod schedule;
mod seen;
mod wait;

pub(crate) use acquisition::Acquisition;
pub(crate) use patience::{Patience, Wait};
