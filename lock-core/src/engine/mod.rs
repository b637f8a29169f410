//! What every backend gets for free: attempts with undo, waiting, renewal, loss, release.

mod belief;
mod call;
mod hold;
mod keep_alive;
mod latency;
mod line;
mod pursuit;
mod rivals;
mod undo;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use belief::{default_margin, validity};
pub(crate) use call::limited;
pub(crate) use hold::{Hold, Over};
pub(crate) use keep_alive::keep_alive;
pub(crate) use latency::Latency;
pub(crate) use line::Lines;
pub(crate) use pursuit::{Patience, Pursuit, Terms, Wait};
pub(crate) use rivals::Rivals;

use crate::claim::{LockKey, TokenSource, Ttl};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::observe::{Event, EventKind, Reporter};
use crate::provider::LockProvider;

/// What the parts of the engine share: the backend, the clock, the limits.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) provider: Arc<dyn LockProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tokens: Arc<dyn TokenSource>,
    pub(crate) reporter: Reporter,
    /// Who waits in this client.
    pub(crate) lines: Lines,
    /// Who else competes for keys.
    pub(crate) rivals: Rivals,
    /// How fast the backend answers.
    pub(crate) latency: Latency,
    /// How long one request may take.
    pub(crate) request_timeout: Duration,
    /// For how long a failing backend is tried again before an acquisition reports it.
    pub(crate) unavailable_after: Duration,
}

impl Engine {
    pub(crate) fn report(&self, key: &LockKey, kind: EventKind) {
        self.reporter.report(|| Event::new(self.provider.info().name(), key, kind));
    }

    /// Names operation, key and provider in an error that a backend returned.
    pub(crate) fn explain(&self, error: Error, operation: Operation, key: &LockKey) -> Error {
        error.in_operation(operation, Some(key), self.provider.info().name())
    }
}

/// Checks that something of a ttl can be used before the holder is told to stop, and returns how much.
pub(crate) fn check_margin(ttl: Ttl, margin: Option<Duration>) -> Result<Duration> {
    let margin = margin.unwrap_or_else(|| default_margin(ttl));
    let usable = validity(ttl).saturating_sub(margin);
    if usable.is_zero() {
        let message = format!("the stop margin {margin:?} leaves nothing of the ttl {ttl}");
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(usable)
}
