use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};

use super::Engine;
use crate::claim::LockKey;
use crate::error::Error;

/// The waiters of one client, in a line for each key: only the head of a line makes requests, so
/// that any number of waiters costs the backend no more than one (law W2).
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Mutex<HashMap<LockKey, Arc<Line>>>,
}

#[derive(Debug)]
struct Line {
    /// One permit, the head's; tokio hands it on in the order of arrival.
    head: Arc<Semaphore>,
    /// Tells the head that this client has released the key: a hint that costs no request.
    freed: Notify,
    /// Why the line was given up, for everybody in it.
    failure: OnceLock<Error>,
}

impl Line {
    fn new() -> Self {
        let head = Arc::new(Semaphore::new(1));
        Self { head, freed: Notify::new(), failure: OnceLock::new() }
    }
}

impl Lines {
    fn lines(&self) -> MutexGuard<'_, HashMap<LockKey, Arc<Line>>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the head of the line, if there is one, try at once.
    pub(super) fn freed(&self, key: &LockKey) {
        if let Some(line) = self.lines().get(key) {
            line.freed.notify_one();
        }
    }

    #[cfg(test)]
    fn is_empty(&self) -> bool {
        self.lines().is_empty()
    }
}

type Turn = Pin<Box<dyn Future<Output = Result<OwnedSemaphorePermit, AcquireError>> + Send + Sync>>;

/// A place in line; dropping it leaves the line.
pub(super) struct Place {
    engine: Arc<Engine>,
    key: LockKey,
    line: Arc<Line>,
    turn: Turn,
    head: Option<OwnedSemaphorePermit>,
}

impl Place {
    pub(super) fn join(engine: &Arc<Engine>, key: &LockKey) -> Self {
        let mut lines = engine.lines.lines();
        let line = Arc::clone(lines.entry(key.clone()).or_insert_with(|| Arc::new(Line::new())));
        drop(lines);
        // An empty line has no head: the first to join is it, at once.
        let head = Arc::clone(&line.head).try_acquire_owned().ok();
        let turn: Turn = match head {
            Some(_) => Box::pin(std::future::pending()),
            None => Box::pin(Arc::clone(&line.head).acquire_owned()),
        };
        Self { engine: Arc::clone(engine), key: key.clone(), line, turn, head }
    }

    pub(super) fn is_head(&self) -> bool {
        self.head.is_some()
    }

    /// Waits to become the head; fails when the head has found the backend dead.
    ///
    /// Dropping the future keeps the place in line.
    pub(super) async fn turn(&mut self) -> Result<(), Error> {
        if self.head.is_none() {
            let Ok(permit) = self.turn.as_mut().await else {
                // A line is closed only after its failure was set.
                return Err(self.line.failure.get().cloned().unwrap_or_else(|| {
                    Error::new(crate::ErrorKind::Unavailable, "the line was given up")
                }));
            };
            self.head = Some(permit);
        }
        Ok(())
    }

    /// Waits until this client has released the key.
    pub(super) async fn freed(&self) {
        self.line.freed.notified().await;
    }

    /// Tells everybody in line that the backend is dead. Who comes later begins a new line.
    pub(super) fn fail(&self, error: &Error) {
        let _ = self.line.failure.set(error.clone());
        self.line.head.close();
        let mut lines = self.engine.lines.lines();
        if lines.get(&self.key).is_some_and(|line| Arc::ptr_eq(line, &self.line)) {
            lines.remove(&self.key);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.engine.lines.lines();
        // The map's and this one: nobody else is in line.
        let last = Arc::strong_count(&self.line) == 2;
        if last && lines.get(&self.key).is_some_and(|line| Arc::ptr_eq(line, &self.line)) {
            lines.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;
    use crate::clock::TokioClock;
    use crate::observe::Reporter;
    use std::time::Duration;

    fn engine() -> Arc<Engine> {
        Arc::new(Engine {
            provider: Arc::new(Nothing(crate::ProviderInfo::new("none", Default::default()))),
            clock: Arc::new(TokioClock::new()),
            tokens: Arc::new(crate::OsTokens),
            reporter: Reporter::default(),
            lines: Lines::default(),
            request_timeout: Duration::ZERO,
            unavailable_after: Duration::ZERO,
        })
    }

    #[derive(Debug)]
    struct Nothing(crate::ProviderInfo);

    impl crate::LockProvider for Nothing {
        fn info(&self) -> &crate::ProviderInfo {
            &self.0
        }

        fn lock(&self, _: crate::Claim) -> Arc<dyn crate::Lock> {
            unreachable!("no lock is made here")
        }
    }

    #[tokio::test]
    async fn w2_places_are_served_in_order_and_leave_nothing_behind() {
        let (engine, key) = (engine(), LockKey::new("k").unwrap());
        let mut first = Place::join(&engine, &key);
        first.turn().await.unwrap();
        let mut second = Place::join(&engine, &key);
        let mut third = Place::join(&engine, &key);
        for place in [&mut second, &mut third] {
            let turn = tokio::time::timeout(Duration::from_millis(1), place.turn());
            assert!(turn.await.is_err(), "there is one head");
        }
        drop(first);
        second.turn().await.unwrap();
        assert!(!third.is_head());
        drop(second);
        third.turn().await.unwrap();
        drop(third);
        assert!(engine.lines.is_empty());
    }

    #[tokio::test]
    async fn a_failed_line_fails_everybody_in_it_and_nobody_after() {
        let (engine, key) = (engine(), LockKey::new("k").unwrap());
        let (mut head, mut next) = (Place::join(&engine, &key), Place::join(&engine, &key));
        head.turn().await.unwrap();
        head.fail(&Error::new(ErrorKind::Unavailable, "dead"));
        assert!(next.turn().await.unwrap_err().is_unavailable());
        let mut later = Place::join(&engine, &key);
        later.turn().await.unwrap();
        drop((head, next, later));
        assert!(engine.lines.is_empty());
    }
}
