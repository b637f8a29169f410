use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::hold::Grant;
use super::line::Place;
use super::{Engine, Hold, Validity};
use crate::clock::Moment;
use crate::error::{Effect, Effort, Error, ErrorKind, Operation, Result};
use crate::observe::EventKind;
use crate::provider::{Attempt, Capability, Lock, Signal, Watch};
use crate::retry::RetryStrategy;

/// How long past its deadline the last attempt of a bounded wait may take.
const LAST_ATTEMPT: Duration = Duration::from_millis(100);

/// The pause after a hint that came to nothing, so that a storm of hints is not a storm of requests.
const HINT_PAUSE: Duration = Duration::from_millis(1);

/// Added to the holder's remaining time: stores count in milliseconds, rounded down.
const EXPIRY_SLACK: Duration = Duration::from_millis(1);

/// How long an acquisition may wait for a key that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// One attempt.
    No,
    /// At most this long, with a last attempt at the end.
    AtMost(Duration),
    /// Until the strategy ends.
    Forever,
}

/// What an acquisition does when the key is held.
#[derive(Debug)]
pub(crate) struct Patience {
    pub(crate) wait: Wait,
    pub(crate) retry: Arc<dyn RetryStrategy>,
    pub(crate) cancelled: Option<CancellationToken>,
}

/// What a grant turns into.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) max_hold: Option<Duration>,
    pub(crate) margin: Option<Duration>,
}

/// One acquisition under way.
///
/// Dropping it at any point undoes a request whose outcome is not known (laws U1, G5).
pub(crate) struct Pursuit {
    engine: Arc<Engine>,
    runtime: Handle,
    lock: Arc<dyn Lock>,
    terms: Terms,
    started: Moment,
    last_attempt: Moment,
    attempts: u32,
    /// A request has left and its answer has not come.
    under_way: bool,
    /// A request ended without a known outcome.
    stray: bool,
    /// The hold has taken over whatever there is to undo.
    granted: bool,
}

enum Answer {
    Granted(Arc<Hold>),
    Held { remaining: Option<Duration> },
}

impl Pursuit {
    pub(crate) fn new(
        engine: Arc<Engine>,
        runtime: Handle,
        lock: Arc<dyn Lock>,
        terms: Terms,
    ) -> Self {
        let started = engine.clock.now();
        Self {
            engine,
            runtime,
            lock,
            terms,
            started,
            last_attempt: started,
            attempts: 0,
            under_way: false,
            stray: false,
            granted: false,
        }
    }

    /// Acquires, waiting as `patience` says.
    pub(crate) async fn run(mut self, patience: Patience) -> Result<Arc<Hold>> {
        let outcome = match &patience.cancelled {
            None => self.wait(&patience).await,
            Some(token) => {
                token.run_until_cancelled(self.wait(&patience)).await.unwrap_or_else(|| {
                    Err(Error::new(ErrorKind::Cancelled, "the caller cancelled it"))
                })
            }
        };
        let waited = self.engine.clock.now().since(self.started);
        let effort = Effort { attempts: self.attempts, waited };
        let key = self.lock.claim().key();
        let outcome = outcome.map_err(|error| {
            self.engine.explain(error, Operation::Acquire, key).with_effort(effort)
        });
        let event = match &outcome {
            Ok(hold) => EventKind::Acquired { fencing: hold.fencing, effort },
            Err(error) => EventKind::NotAcquired { reason: error.kind(), effort },
        };
        self.engine.report(key, event);
        outcome
    }

    /// Tries, waits for a reason to try again, and so on until it is granted or hopeless.
    async fn wait(&mut self, patience: &Patience) -> Result<Arc<Hold>> {
        let deadline = match patience.wait {
            Wait::No => self.started,
            Wait::AtMost(wait) => self.started.after(wait),
            Wait::Forever => Moment::NEVER,
        };
        let mut delays = patience.retry.delays();
        let mut spent = false;
        let mut failing_since = None;
        let mut place = None;
        let mut watch = None;
        loop {
            let (failure, remaining) = match self.attempt(patience.wait, deadline).await {
                Ok(Answer::Granted(hold)) => return Ok(hold),
                Ok(Answer::Held { remaining }) => (None, remaining),
                Err(error) if error.is_unavailable() => (Some(error), None),
                Err(error) => return Err(error),
            };
            let now = self.engine.clock.now();
            if let Some(failure) = &failure {
                if now.since(*failing_since.get_or_insert(now)) >= self.engine.unavailable_after {
                    place.iter().for_each(|place: &Place| place.fail(failure));
                    return Err(failure.clone());
                }
            } else {
                failing_since = None;
            }
            // A dead backend is reported as such, never as contention (law W3).
            let give_up = |kind, message| {
                let error = failure.clone().unwrap_or_else(|| Error::new(kind, message));
                Err(error.with_remaining(remaining))
            };
            if patience.wait == Wait::No {
                return give_up(ErrorKind::Contended, "another owner holds the lock");
            }
            if now >= deadline {
                return give_up(ErrorKind::TimedOut, "another owner held the lock all the time");
            }
            let exhausted = "another owner holds the lock and the retry strategy has ended";
            if spent {
                return give_up(ErrorKind::Contended, exhausted);
            }
            let key = self.lock.claim().key();
            if self.attempts == 1 && failure.is_none() {
                self.engine.report(key, EventKind::Waiting { remaining });
            }
            let place = place.get_or_insert_with(|| Place::join(&self.engine, key));
            if !place.is_head() {
                spent = !self.stand_in_line(place, &mut delays, deadline).await?;
                continue;
            }
            if watch.is_none() && failure.is_none() {
                watch = self.subscribe().await;
                if watch.is_some() {
                    // Whatever was released before the subscription was in force is found now.
                    continue;
                }
            }
            let Some(delay) = delays.next() else {
                return give_up(ErrorKind::Contended, exhausted);
            };
            let expiry =
                remaining.map_or(Moment::NEVER, |left| now.after(left).after(EXPIRY_SLACK));
            self.sleep(place, &mut watch, now.after(delay).min(deadline).min(expiry)).await;
        }
    }

    /// Lets the head of the line make the requests; returns when it is time for one of its own: at
    /// the head, at the deadline, or (false) when the delays have ended.
    async fn stand_in_line(
        &self,
        place: &mut Place,
        delays: &mut (dyn Iterator<Item = Duration> + Send),
        deadline: Moment,
    ) -> Result<bool> {
        let clock = &self.engine.clock;
        loop {
            // The patience of a strategy lasts as long in line as it would at the head.
            let wake = match delays.next() {
                Some(delay) => clock.now().after(delay).min(deadline),
                None => return Ok(false),
            };
            tokio::select! {
                biased;
                turn = place.turn() => return turn.map(|()| true),
                () = clock.sleep_until(wake) => {}
            }
            if clock.now() >= deadline {
                return Ok(true);
            }
        }
    }

    /// Asks for hints where the provider has them; without them the delays alone decide.
    async fn subscribe(&self) -> Option<Watch> {
        if !self.engine.provider.info().capabilities().has(Capability::Hints) {
            return None;
        }
        match self.engine.call(self.engine.request_timeout, self.lock.watch()).await {
            Ok(watch) => watch,
            Err(error) => {
                let error = self.engine.explain(error, Operation::Watch, self.lock.claim().key());
                tracing::debug!(%error, "no hints, polling instead");
                None
            }
        }
    }

    /// Sleeps until `wake` or a hint, from the backend or from a release of this client. A watch that
    /// ends is dropped, and the sleep goes on.
    async fn sleep(&self, place: &Place, watch: &mut Option<Watch>, wake: Moment) {
        let clock = &self.engine.clock;
        let hinted = async {
            if let Some(open) = watch {
                if let Some(Signal::Hint | Signal::Granted { .. }) = open.next().await {
                    return;
                }
                *watch = None;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = clock.sleep_until(wake) => {}
            () = place.freed() => {}
            () = hinted => {
                // A storm of hints is not a storm of requests.
                let earliest = self.last_attempt.after(HINT_PAUSE).min(wake);
                if clock.now() < earliest {
                    clock.sleep_until(earliest).await;
                }
            }
        }
    }

    /// Makes one request and keeps book of what is known about it.
    async fn attempt(&mut self, wait: Wait, deadline: Moment) -> Result<Answer> {
        let ttl = self.lock.claim().ttl();
        let sent = self.engine.clock.now();
        let mut limit = self.engine.request_timeout.min(ttl.get());
        if wait != Wait::No {
            limit = limit.min(deadline.since(sent).max(LAST_ATTEMPT));
        }
        self.attempts = self.attempts.saturating_add(1);
        self.last_attempt = sent;
        self.under_way = true;
        let answer = self.engine.call(limit, self.lock.try_acquire()).await;
        self.under_way = false;
        match answer {
            Ok(Attempt::Granted { fencing }) => {
                if self.engine.clock.now() >= Validity::from_sent(sent, ttl).deadline {
                    self.stray = true;
                    let message = "the grant came when its lease was already over";
                    let error = Error::new(ErrorKind::Unavailable, message);
                    return Err(error.with_effect(Effect::Applied));
                }
                self.granted = true;
                let grant = Grant {
                    lock: Arc::clone(&self.lock),
                    runtime: self.runtime.clone(),
                    fencing,
                    ttl,
                    sent,
                    max_hold: self.terms.max_hold,
                    margin: self.terms.margin,
                    stray: self.stray,
                };
                Ok(Answer::Granted(Arc::new(Hold::new(Arc::clone(&self.engine), grant))))
            }
            Ok(Attempt::Held { remaining }) => Ok(Answer::Held { remaining }),
            Ok(Attempt::Undone) => Err(Error::new(
                ErrorKind::Invalid,
                "this owner token was released before; every acquisition needs a fresh one",
            )),
            Err(error) => {
                self.stray |= error.effect() != Effect::NotApplied;
                Err(error)
            }
        }
    }
}

impl Drop for Pursuit {
    fn drop(&mut self) {
        if !self.granted && (self.under_way || self.stray) {
            Arc::clone(&self.engine).undo(Arc::clone(&self.lock), &self.runtime);
        }
    }
}
