//! The application API: the client, its acquisitions, and the locks that it holds.

mod acquire;
mod builder;
mod defaults;
mod guard;
mod lease;
mod lock_client;
mod plan;
mod renewing;
mod run;

pub use acquire::Acquire;
pub use builder::ClientBuilder;
pub use guard::{LockGuard, ReleaseError};
pub use lease::Lease;
pub use lock_client::LockClient;
