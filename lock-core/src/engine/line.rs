use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::{AcquireError, Notify, OwnedSemaphorePermit, Semaphore};

use super::Engine;
use crate::claim::LockKey;
use crate::clock::Moment;
use crate::error::Error;

/// The waiters of one client, in a line for each key: only the head of a line makes requests, so
/// that any number of waiters costs the backend no more than one (law W2).
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Mutex<HashMap<LockKey, Standing>>,
}

/// A line and how many places it has.
#[derive(Debug)]
struct Standing {
    line: Arc<Line>,
    places: usize,
}

#[derive(Debug)]
struct Line {
    /// One permit, the head's; tokio hands it on in the order of arrival.
    head: Arc<Semaphore>,
    /// Lets the head try at once: this client has released the key, or a waiter's patience asks.
    nudge: Notify,
    known: Mutex<Known>,
    /// Why the line was given up, for everybody in it.
    failure: OnceLock<Error>,
}

/// What the attempts of anybody in line have shown.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Until when an attempt is under way at the most, or when the last one ended.
    pub(super) busy_until: Moment,
    /// The key was seen to be held.
    pub(super) held: bool,
    /// Since when the backend fails.
    pub(super) failing_since: Option<Moment>,
}

impl Line {
    fn new() -> Self {
        let head = Arc::new(Semaphore::new(1));
        Self { head, nudge: Notify::new(), known: Mutex::default(), failure: OnceLock::new() }
    }
}

impl Lines {
    fn lines(&self) -> MutexGuard<'_, HashMap<LockKey, Standing>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the head of the line, if there is one, try at once.
    pub(super) fn freed(&self, key: &LockKey) {
        if let Some(standing) = self.lines().get(key) {
            standing.line.nudge.notify_one();
        }
    }

    /// Tells whether somebody waits for the key: whoever comes now stands behind.
    pub(super) fn has(&self, key: &LockKey) -> bool {
        self.lines().contains_key(key)
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
        let new = || Standing { line: Arc::new(Line::new()), places: 0 };
        let standing = lines.entry(key.clone()).or_insert_with(new);
        standing.places += 1;
        let line = Arc::clone(&standing.line);
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

    /// Waits until the head should try at once.
    pub(super) async fn nudged(&self) {
        self.line.nudge.notified().await;
    }

    /// Asks the head to try at once.
    pub(super) fn nudge(&self) {
        self.line.nudge.notify_one();
    }

    /// Returns what anybody in line has learned.
    pub(super) fn known(&self) -> Known {
        *self.line.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells everybody in line what was learned.
    pub(super) fn learn(&self, lesson: impl FnOnce(&mut Known)) {
        lesson(&mut self.line.known.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Tells everybody in line that the backend is dead. Who comes later begins a new line.
    pub(super) fn fail(&self, error: &Error) {
        let _ = self.line.failure.set(error.clone());
        self.line.head.close();
        let mut lines = self.engine.lines.lines();
        if lines.get(&self.key).is_some_and(|standing| Arc::ptr_eq(&standing.line, &self.line)) {
            lines.remove(&self.key);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.engine.lines.lines();
        if let Some(standing) = lines.get_mut(&self.key)
            && Arc::ptr_eq(&standing.line, &self.line)
        {
            standing.places -= 1;
            if standing.places == 0 {
                lines.remove(&self.key);
            }
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
