#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod acquiring;
pub mod backend;
mod client;
pub mod clock;
mod engine;
mod error;
mod fairness;
pub mod fencing;
mod holding;
pub mod loss;
pub mod observe;
pub mod registry;
mod retry;
mod value;

pub use backend::capability::{Capabilities, Capability};
pub use backend::inspect::{Holder, Occupancy};
pub use backend::{Lock, LockProvider};
pub use client::{Acquire, ClientBuilder, Lease, LockClient, LockGuard, ReleaseError};
pub use error::{Error, ErrorKind, Result};
pub use fairness::Fairness;
pub use retry::{Backoff, RetryStrategy};
/// Cancels an acquisition, and reports a loss; from `tokio-util` 0.7.
pub use tokio_util::sync::CancellationToken;
pub use value::{FencingToken, LockKey, Metadata, OwnerFingerprint, OwnerToken};
