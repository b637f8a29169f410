//! Waiting: what the server reports, and the waiter that it concerns.

mod channel;
pub(crate) mod follow;
#[cfg(feature = "cluster")]
mod sharded;
mod shared;
pub(crate) mod subscriber;
pub(crate) mod waiters;
