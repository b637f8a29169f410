//! What acquiring and holding share: the backend, the clock, the waiters of this client, undoing.

mod bound;
pub(crate) mod latency;
pub(crate) mod line;
pub(crate) mod rivals;
mod undo;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use bound::Bound;
pub(crate) use latency::Latency;
pub(crate) use line::Lines;
pub(crate) use rivals::Rivals;

use crate::backend::{Capabilities, Capability, LockProvider, Occupancy, limited};
use crate::clock::Clock;
use crate::error::{Error, Operation, Result};
use crate::observe::{Event, EventKind, Reporter};
use crate::value::{LockKey, OwnerToken};

/// What the parts of the engine share: the backend, the clock, the limits.
pub(crate) struct Engine {
    pub(crate) provider: Arc<dyn LockProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Makes the owner tokens: every one is fresh (law E4).
    pub(crate) mint: Arc<Mint>,
    pub(crate) reporter: Reporter,
    /// Who waits in this client.
    pub(crate) lines: Arc<Lines>,
    /// Who else competes for keys.
    pub(crate) rivals: Rivals,
    /// How fast the backend answers.
    pub(crate) latency: Latency,
    /// How long one request may take.
    pub(crate) request_timeout: Duration,
    /// For how long a failing backend is tried again before an acquisition reports it.
    pub(crate) unavailable_after: Duration,
    /// How long before the deadline a holder is told to stop; `None` means the default.
    pub(crate) stop_margin: Option<Duration>,
}

/// Makes owner tokens.
pub(crate) type Mint = dyn Fn() -> Result<OwnerToken> + Send + Sync;

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("provider", &self.provider).finish_non_exhaustive()
    }
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

    /// Asks the backend who holds a key.
    pub(crate) async fn inspect(&self, key: &LockKey) -> Result<Occupancy> {
        let explain = |error: Error| self.explain(error, Operation::Inspect, key);
        match self.provider.as_inspect() {
            Some(inspect) => {
                self.call(self.request_timeout, inspect.inspect(key)).await.map_err(explain)
            }
            None => {
                let name = self.provider.info().name();
                Err(explain(Capabilities::of(&*self.provider).lack(name, Capability::Inspect)))
            }
        }
    }
}
