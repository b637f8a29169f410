//! The verbs of a lock, and the scripts that they run on the server.

mod answer;
pub(crate) mod lock;
pub(crate) mod scripts;
