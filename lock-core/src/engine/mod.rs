//! What acquiring and holding share: the backend, the clock, the waiters of this client, undoing.

pub(crate) mod latency;
pub(crate) mod line;
pub(crate) mod rivals;
mod undo;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use latency::Latency;
pub(crate) use line::Lines;
pub(crate) use rivals::Rivals;

use crate::backend::{LockProvider, limited};
use crate::clock::Clock;
use crate::error::{Error, Operation, Result};
use crate::observe::{Event, EventKind, Reporter};
use crate::value::{LockKey, TokenSource};

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
        error.in_operation(operation, Some(key.shared()), self.provider.info().name())
    }

    /// Runs one request to the backend, as [`limited`] does, by the engine's clock.
    pub(crate) async fn call<T>(
        &self,
        limit: Duration,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        limited(&*self.clock, limit, request).await
    }
}
