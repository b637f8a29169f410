//! Requests to the backend, with a time limit, and reported when they end.

use std::time::Duration;

use super::{Bound, Engine};
use tracing::Level;

use crate::backend::{Verb, limited};
use crate::clock::Moment;
use crate::error::Result;
use crate::observe::{Answer, Event, EventKind, Identity, RequestOutcome};
use crate::value::LockKey;

impl Engine {
    /// Waits for something with a time limit, by the engine's clock.
    pub(crate) async fn limited<T>(
        &self,
        limit: Duration,
        waiting: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        limited(&*self.clock, limit, waiting).await
    }

    /// Sends one request for a claim to the backend through [`limited`], by the engine's clock.
    pub(crate) async fn request<T: Answer>(
        &self,
        bound: &Bound,
        verb: Verb,
        limit: Duration,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let pending = self.pending(verb, bound.key(), || Some(bound.identity()));
        let answer = self.limited(limit, request).await;
        Pending::end(pending, &answer);
        answer
    }

    /// Sends one request about a key.
    pub(crate) async fn request_about<T: Answer>(
        &self,
        key: &LockKey,
        verb: Verb,
        request: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let pending = self.pending(verb, key, || None);
        let answer = self.limited(self.request_timeout, request).await;
        Pending::end(pending, &answer);
        answer
    }

    fn pending<'a>(
        &'a self,
        verb: Verb,
        key: &'a LockKey,
        identity: impl FnOnce() -> Option<Identity>,
    ) -> Option<Box<Pending<'a>>> {
        // Boxed, because most clients have no observer, and the request is moved around with it.
        self.reporter.is_listening(Level::TRACE).then(|| {
            Box::new(Pending {
                engine: self,
                verb,
                key,
                identity: identity(),
                sent: self.clock.now(),
                outcome: RequestOutcome::Dropped,
            })
        })
    }
}

/// A request under way that will be reported.
struct Pending<'a> {
    engine: &'a Engine,
    verb: Verb,
    key: &'a LockKey,
    identity: Option<Identity>,
    sent: Moment,
    outcome: RequestOutcome,
}

impl Pending<'_> {
    fn end<T: Answer>(pending: Option<Box<Self>>, answer: &Result<T>) {
        if let Some(mut pending) = pending {
            pending.outcome = match answer {
                Ok(answer) => answer.outcome(),
                Err(error) => RequestOutcome::Failed(error.kind()),
            };
        }
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        let Self { engine, verb, key, identity, sent, outcome } = *self;
        let now = engine.clock.now();
        let kind = EventKind::Request { verb, took: now.since(sent), outcome };
        engine.reporter.report(Event::new(&engine.source, now, key, identity, kind));
    }
}
