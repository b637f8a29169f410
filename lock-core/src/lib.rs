#![doc = include_str!("../README.md")]

mod claim;
mod client;
mod clock;
mod engine;
mod error;
mod guard;
mod loss;
mod observe;
mod provider;
mod quorum;
mod registry;
mod retry;

pub use claim::{
    Claim, FencingGate, FencingToken, LockKey, Metadata, OsTokens, OwnerFingerprint, OwnerToken,
    StaleWriter, TokenSource, Ttl,
};
pub use client::{Acquire, ClientBuilder, Fairness, LockClient};
pub use clock::{Clock, Moment, Sleep, SystemClock, TokioClock};
pub use error::{Effect, Effort, Error, ErrorKind, Operation, Result};
pub use guard::{Lease, LockGuard, ReleaseError};
pub use loss::{AtRisk, Loss};
pub use observe::{Event, EventKind, Observer};
pub use provider::{
    Attempt, Capabilities, Capability, Handover, Holder, Lock, LockProvider, ProviderInfo, Release,
    Renewal, Signal, Watch, WatchKind, WatchSender,
};
pub use quorum::Quorum;
pub use registry::{
    Clients, LocksConfig, ProviderConfig, ProviderFactory, ProviderRegistry, ProviderUrl,
    UrlOptions,
};
pub use retry::{Backoff, RetryStrategy, from_fn};
