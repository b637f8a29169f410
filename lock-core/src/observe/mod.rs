//! Events and numbers of locks, for metrics and logs.
//!
//! An [`Observer`] receives the [`Event`]s of a client. [`LockClient::counts`] returns the numbers
//! that the client keeps itself. `tracing` gets the same events as log lines.
//!
//! | metric | from |
//! |---|---|
//! | locks held now | [`Counts::held`] |
//! | acquisitions under way now | [`Counts::acquiring`] |
//! | acquisitions, by outcome, and their duration | [`EventKind::AcquireEnded`] |
//! | acquisitions that had to wait | [`EventKind::Waiting`] |
//! | holds, by outcome, and their duration | [`EventKind::HoldEnded`] |
//! | locks lost | [`EventKind::HoldEnded`] with [`HoldOutcome::Lost`], and [`EventKind::Released`] with the answer [`NotHeld`](crate::backend::Release::NotHeld) after [`HoldOutcome::GivenBack`] |
//! | requests to the store, by verb and outcome, and their latency | [`EventKind::Request`] |
//! | events missed by a slow observer | [`Counts::events_dropped`] |
//!
//! A release that undoes an attempt is a request like any other. Its answer is `not_held` if there
//! was nothing to undo.
//!
//! # Examples
//!
//! One observer for all clients of a configuration:
//!
//! ```
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU64, Ordering};
//!
//! use lock_core::observe::{Event, EventKind, HoldOutcome, Observer};
//! use lock_core::registry::{LocksConfig, ProviderRegistry};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> lock_core::Result<()> {
//!
//! #[derive(Debug, Default)]
//! struct Metrics {
//!     lost: AtomicU64,
//! }
//!
//! impl Observer for Metrics {
//!     fn on_event(&self, event: &Event) {
//!         if let EventKind::HoldEnded { outcome: HoldOutcome::Lost(_), .. } = event.kind() {
//!             self.lost.fetch_add(1, Ordering::Relaxed); // by event.client() and outcome.name()
//!         }
//!     }
//! }
//!
//! let metrics = Arc::new(Metrics::default());
//! let config = LocksConfig::from_vars([("LOCK_JOBS_URL", "memory://")])?;
//! let registry = ProviderRegistry::new().register(lock_memory::factory())?;
//! let set_up = |_: &str, client: lock_core::ClientBuilder| client.observer(Arc::clone(&metrics));
//! let clients = registry.connect_all_with(&config, set_up).await?;
//! println!("locks_held{{client=\"jobs\"}} {}", clients.get("jobs")?.counts().held);
//! # Ok(())
//! # }
//! ```
//!
//! [`LockClient::counts`]: crate::LockClient::counts

mod counts;
mod event;
mod observer;
mod request;

pub use crate::error::{Effort, Operation};
pub use counts::Counts;
pub(crate) use counts::Numbers;
pub use event::{AcquireOutcome, Event, EventKind, HoldOutcome};
pub(crate) use event::{Identity, Source};
pub use observer::Observer;
pub(crate) use observer::Reporter;
pub(crate) use request::Answer;
pub use request::RequestOutcome;
