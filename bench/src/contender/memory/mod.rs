//! Locks within one process, for comparison with our memory backend.

pub(crate) mod lockable;
pub(crate) mod mutex_map;
pub(crate) mod ours;
