//! Events and numbers of locks, for metrics and logs.

mod counts;
mod event;
mod observer;
mod request;

pub use crate::error::{Effort, Operation};
pub use counts::Counts;
pub(crate) use counts::{Held, Live, Numbers};
pub use event::{AcquireOutcome, Event, EventKind, HoldOutcome};
pub(crate) use event::{Identity, Source};
pub use observer::Observer;
pub(crate) use observer::Reporter;
pub(crate) use request::Answer;
pub use request::RequestOutcome;
