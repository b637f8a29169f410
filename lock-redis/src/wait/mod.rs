//! Waiting: subscriptions, and what the server sends to waiters.

mod channel;
pub(crate) mod follow;
#[cfg(feature = "cluster")]
mod sharded;
mod shared;
pub(crate) mod subscriber;
pub(crate) mod waiters;
