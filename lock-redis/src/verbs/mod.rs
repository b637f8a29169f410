//! The verbs of a lock, and their scripts.

mod answer;
pub(crate) mod lock;
pub(crate) mod scripts;
