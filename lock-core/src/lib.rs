#![doc = include_str!("../README.md")]

mod acquiring;
mod backend;
mod client;
mod clock;
mod engine;
mod error;
mod fairness;
mod fencing;
mod holding;
mod loss;
mod observe;
mod registry;
mod retry;
mod value;

pub use backend::{
    Attempt, Capabilities, Capability, Claim, Handover, Holder, Lock, LockProvider,
    ProviderFactory, ProviderInfo, ProviderUrl, Release, Renewal, Signal, UrlOptions, Watch,
    WatchKind, WatchSender, limited,
};
pub use client::{Acquire, ClientBuilder, Lease, LockClient, LockGuard, ReleaseError};
pub use clock::{Clock, Moment, Sleep, SystemClock, TokioClock};
pub use error::{Effect, Effort, Error, ErrorKind, Operation, Result};
pub use fairness::Fairness;
pub use fencing::{FencingGate, StaleWriter};
pub use loss::{AtRisk, Loss};
pub use observe::{Event, EventKind, Observer};
pub use registry::{Clients, LocksConfig, ProviderConfig, ProviderRegistry};
pub use retry::{Backoff, RetryStrategy, from_fn};
pub use value::{
    FencingToken, LockKey, Metadata, OsTokens, OwnerFingerprint, OwnerToken, TokenSource, Ttl,
};
