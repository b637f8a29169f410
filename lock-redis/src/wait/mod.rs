//! Waiting: what the server reports, and the waiter that it concerns.

pub(crate) mod follow;
#[cfg(feature = "cluster")]
mod sharded;
mod shared;
pub(crate) mod subscriber;
mod subscription;
mod waiters;
