//! The contract of a backend: a provider, the three verbs of its locks, and optional traits.
//!
//! # The contract in four steps
//!
//! 1. A [`LockProvider`] describes itself ([`ProviderInfo`]) and binds a [`Claim`] to the store.
//! 2. A [`Lock`] has three verbs, each atomic in the store: acquire, renew, release.
//! 3. Every other ability of the store is an optional trait. A provider or lock that has the trait
//!    returns `Some(self)` from the method of that name, such as `as_hints`.
//! 4. The conformance suite of `lock-testkit` runs on it with one line.
//!
//! | optional trait | the store can | without it |
//! |---|---|---|
//! | [`Inspect`] | report who holds a key | `inspect` is refused |
//! | [`Hints`] | report releases | waiters poll |
//! | [`Queue`] | grant a key in the order of arrival | waiting clients compete |
//! | [`HandOver`] | release and grant in one step | two requests instead of one |
//! | [`FencingFloor`] | raise fencing tokens | a quorum of such stores has no fencing |
//!
//! Three capabilities are no traits. A provider declares them in its [`ProviderInfo`]: fencing,
//! metadata, and that leases end by the clock of the server.
//!
//! Core does this for you: owner tokens, checks of ttls, waiting, retries, renewals, detection of
//! losses, the undo of requests whose answer was lost, time limits and events.
//!
//! Core does *not* do this for you: atomic steps, expiry by the clock of the store, and fencing
//! tokens that grow.
//!
//! # A whole backend
//!
//! The page of [`Lock`] has the three verbs over a map. The file `custom_backend.rs`, in the
//! directory `examples` at the top of this crate's repository, has a whole backend in about ninety
//! lines, and the line that runs the conformance suite on it. A backend needs `lock-core`, and
//! `lock-testkit` as a dev-dependency; `async_trait` is re-exported here.

mod abilities;
mod answer;
mod call;
pub(crate) mod capability;
mod claim;
mod factory;
mod fencing_floor;
mod forward;
mod hand_over;
mod hints;
pub(crate) mod inspect;
mod lock;
mod prefixed;
mod provider_info;
mod queue;
mod subscription;
mod url;
mod verb;

pub use answer::{Attempt, Busy, Grant, Release, Renewal};
pub use call::limited;
pub(crate) use capability::{Capabilities, Capability};
pub use claim::{Claim, Mode};
pub use factory::ProviderFactory;
pub use fencing_floor::FencingFloor;
pub use hand_over::{HandOver, Transfer};
pub use hints::Hints;
pub use inspect::Inspect;
pub(crate) use inspect::Occupancy;
pub use lock::{Lock, LockProvider};
pub use prefixed::Prefixed;
pub use provider_info::ProviderInfo;
pub use queue::Queue;
pub use subscription::{Signal, SignalSender, Subscription};
pub(crate) use url::listed;
pub use url::{ProviderUrl, UrlOptions};
pub use verb::Verb;

/// The attribute for implementations of the async traits, from the crate of the same name.
pub use async_trait::async_trait;

pub use crate::error::Effect;
pub use crate::value::Ttl;
