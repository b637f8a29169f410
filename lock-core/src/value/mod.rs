//! The values that locks are made of: keys, owners, times, notes and fencing tokens.

mod fencing;
mod key;
mod metadata;
mod owner;
mod ttl;

pub use fencing::FencingToken;
pub use key::LockKey;
pub use metadata::Metadata;
pub use owner::{OwnerFingerprint, OwnerToken};
pub use ttl::Ttl;
