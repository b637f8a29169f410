use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::hold::Grant;
use super::line::Place;
use super::{Engine, Hold, validity};
use crate::claim::LockKey;
use crate::clock::Moment;
use crate::error::{Effect, Effort, Error, ErrorKind, Operation, Result};
use crate::observe::EventKind;
use crate::provider::{Attempt, Capability, Lock, Signal, Watch};
use crate::retry::RetryStrategy;

/// How long past its deadline the last attempt of a bounded wait may take.
const LAST_ATTEMPT: Duration = Duration::from_millis(100);

/// The shortest pause between two attempts, whatever strategy, hints or the holder's remaining time
/// say; stores count that in milliseconds, rounded down.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// After how many delays in a row without an attempt of anybody a waiter asks the head to try.
const ASK_AFTER: u32 = 3;

const EXHAUSTED: &str = "another owner holds the lock and the retry strategy has ended";

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
    /// The last request had less time than a request may take.
    cut: bool,
    /// The hold has taken over whatever there is to undo.
    granted: bool,
}

/// What an acquisition has while it waits.
struct Waiting {
    deadline: Moment,
    delays: Box<dyn Iterator<Item = Duration> + Send>,
    /// When the present delay is over; hints and nudges come earlier and do not use it up.
    due: Option<Moment>,
    watch: Option<Watch>,
    place: Option<Place>,
}

impl Waiting {
    fn join(&mut self, engine: &Arc<Engine>, key: &LockKey) -> &Place {
        self.place.get_or_insert_with(|| Place::join(engine, key))
    }

    /// Returns when the strategy wants the next attempt; `None` when its patience has ended.
    fn due(&mut self, now: Moment) -> Option<Moment> {
        if self.due.is_none_or(|due| due <= now) {
            self.due = Some(now.after(self.delays.next()?.max(SHORTEST_PAUSE)));
        }
        self.due
    }
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
            cut: false,
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
        let mut waiting = Waiting {
            deadline,
            delays: patience.retry.delays(),
            due: None,
            place: None,
            watch: None,
        };
        let key = self.lock.claim().key().clone();
        // Who comes while others wait stands behind them, without a request of its own.
        let mut in_line = patience.wait != Wait::No && self.engine.lines.has(&key);
        let mut spent = false;
        let mut held_before = false;
        let mut failing_since = None;
        loop {
            if in_line {
                let place = waiting.join(&self.engine, &key);
                if !place.is_head() {
                    if !held_before {
                        self.engine.report(&key, EventKind::Waiting { remaining: None });
                    }
                    spent = !self.stand_in_line(&mut waiting).await?;
                    let known = waiting.join(&self.engine, &key).known();
                    held_before |= known.held;
                    failing_since = known.failing_since;
                }
            }
            let last = held_before && self.engine.clock.now() >= deadline;
            let (failure, remaining) =
                match self.attempt(waiting.place.as_ref(), deadline, last).await {
                    Ok(Answer::Granted(hold)) => return Ok(hold),
                    Ok(Answer::Held { remaining }) => (None, remaining),
                    Err(error) if error.is_unavailable() => (Some(error), None),
                    Err(error) => return Err(error),
                };
            let now = self.engine.clock.now();
            if let Some(failure) = &failure {
                if now.since(*failing_since.get_or_insert(now)) >= self.engine.unavailable_after {
                    waiting.place.iter().for_each(|place| place.fail(failure));
                    return Err(failure.clone());
                }
            } else {
                failing_since = None;
            }
            // A dead backend is reported as such, never as contention (law W3); but one attempt that
            // the deadline has cut says nothing about the backend.
            let only_cut = held_before && self.cut && failing_since == Some(now);
            let failure = failure.filter(|_| !only_cut);
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
            if spent {
                return give_up(ErrorKind::Contended, EXHAUSTED);
            }
            if !held_before && failure.is_none() {
                self.engine.report(&key, EventKind::Waiting { remaining });
            }
            held_before |= failure.is_none();
            in_line = true;
            let place = waiting.join(&self.engine, &key);
            place.learn(|known| {
                (known.held, known.failing_since) = (failure.is_none(), failing_since);
            });
            if place.is_head() {
                let Some(due) = waiting.due(now) else {
                    return give_up(ErrorKind::Contended, EXHAUSTED);
                };
                let expiry = remaining.map_or(Moment::NEVER, |left| now.after(left));
                let wake = due.min(expiry.after(SHORTEST_PAUSE)).min(deadline);
                self.sleep(&mut waiting, failure.is_none(), wake).await;
            }
        }
    }

    /// Lets the head of the line make the requests; returns when it is time for one of its own: at
    /// the head, at the deadline, past a head that does not move, or (false) when the delays have
    /// ended.
    async fn stand_in_line(&self, waiting: &mut Waiting) -> Result<bool> {
        let clock = &self.engine.clock;
        let mut quiet_since = None;
        let mut lapses = 0;
        loop {
            // The patience of a strategy lasts as long in line as it would at the head.
            let began = clock.now();
            let Some(due) = waiting.due(began) else { return Ok(false) };
            let wake = due.min(waiting.deadline);
            let Some(place) = &mut waiting.place else { return Ok(true) };
            tokio::select! {
                biased;
                turn = place.turn() => return turn.map(|()| true),
                () = clock.sleep_until(wake) => {}
            }
            if clock.now() >= waiting.deadline {
                return Ok(true);
            }
            // A delay is an upper bound: if the head is slower than three in a row, it is asked, and
            // then passed. One alone may be short by chance, and a hundred waiters have many such.
            let since = *quiet_since.get_or_insert(began);
            if place.known().busy_until >= since {
                (quiet_since, lapses) = (None, 0);
                continue;
            }
            lapses += 1;
            match lapses {
                ..ASK_AFTER => {}
                ASK_AFTER => place.nudge(),
                _ => return Ok(true),
            }
        }
    }

    /// Sleeps until `wake` or a hint, from the backend or from this client. The subscription is made
    /// here as well, and ends the sleep: whatever was released before it was in force is found by the
    /// attempt that follows. A watch that ends is dropped, and the sleep goes on.
    async fn sleep(&mut self, waiting: &mut Waiting, subscribe: bool, wake: Moment) {
        let clock = Arc::clone(&self.engine.clock);
        let hints = self.engine.provider.info().capabilities().has(Capability::Hints);
        let Waiting { place, watch, .. } = waiting;
        let hinted = async {
            if watch.is_none() && hints && subscribe {
                match self.engine.call(self.engine.request_timeout, self.lock.watch()).await {
                    Ok(Some(open)) => {
                        self.stray |= open.may_grant();
                        *watch = Some(open);
                        return;
                    }
                    Ok(None) => {}
                    Err(error) => tracing::debug!(%error, "no hints, polling instead"),
                }
            }
            if let Some(open) = watch {
                if let Some(Signal::Hint | Signal::Granted { .. }) = open.next().await {
                    return;
                }
                *watch = None;
            }
            std::future::pending::<()>().await;
        };
        let nudged = async {
            match place {
                Some(place) => place.nudged().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = clock.sleep_until(wake) => return,
            () = nudged => {}
            () = hinted => {}
        }
        // A storm of hints is not a storm of requests.
        let earliest = self.last_attempt.after(SHORTEST_PAUSE).min(wake);
        if clock.now() < earliest {
            clock.sleep_until(earliest).await;
        }
    }

    /// Makes one request and keeps book of what is known about it.
    ///
    /// The last attempt of a bounded wait has a short limit of its own.
    async fn attempt(
        &mut self,
        place: Option<&Place>,
        deadline: Moment,
        last: bool,
    ) -> Result<Answer> {
        let ttl = self.lock.claim().ttl();
        let sent = self.engine.clock.now();
        let whole = self.engine.request_timeout.min(ttl.get());
        let limit = match self.attempts {
            _ if last => whole.min(LAST_ATTEMPT),
            0 => whole,
            _ => whole.min(deadline.since(sent).max(LAST_ATTEMPT)),
        };
        let busy = |until| place.iter().for_each(|p| p.learn(|known| known.busy_until = until));
        busy(sent.after(limit));
        self.attempts = self.attempts.saturating_add(1);
        self.last_attempt = sent;
        self.under_way = true;
        let answer = self.engine.call(limit, self.lock.try_acquire()).await;
        self.under_way = false;
        let answered = self.engine.clock.now();
        busy(answered);
        self.cut = limit < whole && answered >= sent.after(limit);
        match answer {
            Ok(Attempt::Granted { fencing }) => {
                if answered >= sent.after(validity(ttl)) {
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
