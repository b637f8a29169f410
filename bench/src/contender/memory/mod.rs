//! Locks within one process: our memory backend, and what it is compared with.

pub(crate) mod lockable;
pub(crate) mod mutex_map;
pub(crate) mod ours;
