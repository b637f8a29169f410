//! Waiting: what the server reports, and the waiter that it concerns.

pub(crate) mod follow;
pub(crate) mod news;
