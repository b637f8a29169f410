//! The state of a client that acquiring and holding share.

mod bound;
pub(crate) mod foreign;
pub(crate) mod latency;
pub(crate) mod line;
mod margins;
mod request;
mod undo;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

pub(crate) use bound::Bound;
pub(crate) use foreign::ForeignLockers;
pub(crate) use latency::Latency;
pub(crate) use line::Lines;
pub(crate) use margins::Margins;

use crate::backend::{Capabilities, Capability, LockProvider, Occupancy, Verb};
use crate::clock::Clock;
use crate::error::{Error, Operation, Result};
use crate::observe::{Event, EventKind, Numbers, Reporter, Source};
use crate::value::{LockKey, OwnerToken};

/// The state of one client: its backend, clock, waiters and limits. It outlives every lock.
pub(crate) struct Engine {
    pub(crate) provider: Arc<dyn LockProvider>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Makes owner tokens. No two of them are equal (law E4).
    pub(crate) mint: Arc<Mint>,
    pub(crate) reporter: Reporter,
    /// The names of the client in its events.
    pub(crate) source: Arc<Source>,
    /// How many locks this client holds and waits for.
    pub(crate) numbers: Numbers,
    /// The waiters of this client, one line per key.
    pub(crate) lines: Arc<Lines>,
    /// The keys for which lockers of other libraries compete.
    pub(crate) foreign: ForeignLockers,
    /// The latency of the backend.
    pub(crate) latency: Latency,
    /// The time limit of one request. Never zero.
    pub(crate) request_timeout: Duration,
    /// How long an acquisition retries a failing backend before it reports the failure.
    pub(crate) unavailable_after: Duration,
    /// How much of a ttl is relied on.
    pub(crate) margins: Margins,
}

/// Makes owner tokens.
pub(crate) type Mint = dyn Fn() -> Result<OwnerToken> + Send + Sync;

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// Counts one task in the background, until it ends or is dropped by its runtime.
struct Background(Arc<Engine>);

impl Background {
    fn begin(engine: Arc<Engine>) -> Self {
        engine.numbers.background_started();
        Self(engine)
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.0.numbers.background_ended();
    }
}

impl Engine {
    /// Reports an event of an acquisition or its hold.
    pub(crate) fn report(&self, bound: &Bound, kind: EventKind) {
        if self.reporter.is_listening(kind.level()) {
            let (now, identity) = (self.clock.now(), Some(bound.identity()));
            self.reporter.report(Event::new(&self.source, now, bound.key(), identity, kind));
        }
    }

    /// Runs a release or an undo in the background.
    pub(crate) fn in_background(
        self: Arc<Self>,
        runtime: &Handle,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let background = Background::begin(self);
        runtime.spawn(async move {
            work.await;
            drop(background);
        });
    }

    /// Adds operation, key and provider to an error that a backend returned.
    pub(crate) fn explain(&self, error: Error, operation: Operation, key: &LockKey) -> Error {
        error.in_operation(operation, Some(key.shared()), self.provider.info().shared_name())
    }

    /// Asks the backend who holds a key.
    pub(crate) async fn inspect(&self, key: &LockKey) -> Result<Occupancy> {
        let explain = |error: Error| self.explain(error, Operation::Inspect, key);
        self.provider.info().check_key(key).map_err(explain)?;
        match self.provider.as_inspect() {
            Some(inspect) => {
                let answer = self.request_about(key, Verb::Inspect, inspect.inspect(key));
                answer.await.map_err(explain)
            }
            None => {
                let name = self.provider.info().shared_name();
                Err(explain(Capabilities::of(&*self.provider).lack(name, Capability::Inspect)))
            }
        }
    }
}
