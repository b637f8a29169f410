//! Connections: where they go, what is checked when they open, and which one carries a command.

pub(crate) mod call;
pub(crate) mod checks;
#[cfg(feature = "cluster")]
pub(crate) mod cluster;
pub(crate) mod connection;
pub(crate) mod endpoint;
pub(crate) mod links;
pub(crate) mod listener;
