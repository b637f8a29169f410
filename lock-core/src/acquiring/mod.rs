//! Acquiring: attempts, waiting between them, and what is left when the caller goes away.

mod pause;
mod seen;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use self::pause::Next;
use self::seen::Seen;
use crate::backend::{Attempt, Busy, Claim, Lock, Subscription};
use crate::clock::Moment;
use crate::engine::line::{Place, Received};
use crate::engine::rivals::CONTESTED;
use crate::engine::{Bound, Engine};
use crate::error::{Effect, Effort, Error, ErrorKind, Operation, Result};
use crate::fairness::Fairness;
use crate::holding::{Hold, Terms};
use crate::observe::EventKind;
use crate::retry::RetryStrategy;

/// After how long without an answer an acquisition whose requests are in doubt goes on under another
/// owner token.
const SAME_OWNER: Duration = Duration::from_secs(2);

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
    pub(crate) fairness: Fairness,
    pub(crate) cancelled: Option<CancellationToken>,
    /// The owner token was minted for this acquisition, so another one may take its place.
    pub(crate) owner_is_minted: bool,
}

/// One acquisition under way.
///
/// Dropping it at any point undoes a request whose outcome is not known (laws U1, G5).
pub(crate) struct Pursuit {
    engine: Arc<Engine>,
    runtime: Handle,
    bound: Bound,
    terms: Terms,
    patience: Patience,
    started: Moment,
    deadline: Moment,
    delays: Option<Box<dyn Iterator<Item = Duration> + Send>>,
    /// When the present delay is over; hints and nudges come earlier and do not use it up.
    due: Option<Moment>,
    /// The longest delay so far.
    longest: Duration,
    place: Option<Place>,
    subscription: Option<Subscription>,
    /// The store has refused this user to subscribe or to queue: it polls.
    denied: bool,
    /// No signal has told of a grant that was none.
    trusting: bool,
    /// When the subscription was opened.
    subscribed_since: Moment,
    last_attempt: Moment,
    attempts: u32,
    /// Since when it has tried under the present owner token.
    owner_since: Moment,
    /// What the last attempt has shown.
    seen: Seen,
    /// A request has left and its answer has not come.
    under_way: bool,
    /// A request ended without a known outcome.
    stray: bool,
    /// The store may know this claim as a waiter, and make it the holder at any time.
    in_store: bool,
    /// The hold has taken over whatever there is to undo.
    granted: bool,
}

enum Answer {
    Granted(Arc<Hold>),
    Held(Busy),
}

impl Pursuit {
    pub(crate) fn new(
        engine: Arc<Engine>,
        runtime: Handle,
        bound: Bound,
        terms: Terms,
        patience: Patience,
    ) -> Self {
        let started = engine.clock.now();
        let deadline = match patience.wait {
            Wait::No => started,
            Wait::AtMost(wait) => started.after(wait),
            Wait::Forever => Moment::NEVER,
        };
        Self {
            engine,
            runtime,
            bound,
            terms,
            patience,
            started,
            deadline,
            delays: None,
            due: None,
            longest: Duration::ZERO,
            place: None,
            subscription: None,
            denied: false,
            trusting: true,
            subscribed_since: started,
            last_attempt: started,
            attempts: 0,
            owner_since: started,
            seen: Seen::default(),
            under_way: false,
            stray: false,
            in_store: false,
            granted: false,
        }
    }

    /// Acquires, waiting as its patience says.
    pub(crate) async fn run(mut self) -> Result<Arc<Hold>> {
        let outcome = match self.patience.cancelled.clone() {
            None => self.wait().await,
            Some(token) => token.run_until_cancelled(self.wait()).await.unwrap_or_else(|| {
                Err(Error::new(ErrorKind::Cancelled, "the caller cancelled it"))
            }),
        };
        let waited = self.engine.clock.now().since(self.started);
        let effort = Effort { attempts: self.attempts, waited };
        let key = self.bound.key();
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
    async fn wait(&mut self) -> Result<Arc<Hold>> {
        let mut next = Next::Try;
        if self.patience.wait != Wait::No {
            if !self.engine.rivals.are_none() {
                self.leave_to_rivals().await;
            }
            // A waiter that comes while others wait stands behind them.
            if self.engine.lines.has(self.bound.key()) {
                self.report_waiting();
                next = self.park(false).await?;
            }
        }
        loop {
            let spent = match next {
                Next::Accept(received) => match self.accept(received) {
                    Ok(hold) => return Ok(hold),
                    Err(_too_late) => false,
                },
                Next::GiveUp => return Err(self.exhausted()),
                Next::TryOnce => true,
                Next::Try => false,
            };
            let held_before = self.seen.held;
            match self.attempt().await {
                Ok(Answer::Granted(hold)) => return Ok(hold),
                Ok(Answer::Held(busy)) => self.see_held(busy),
                Err(error) if error.is_unavailable() => self.see_failure(error)?,
                Err(error) => return Err(error),
            }
            if let Some(received) = self.place.as_ref().and_then(Place::handed) {
                next = Next::Accept(received);
                continue;
            }
            if self.patience.wait == Wait::No {
                return Err(self.give_up(ErrorKind::Contended, ""));
            }
            if self.engine.clock.now() >= self.deadline {
                return Err(self.give_up(ErrorKind::TimedOut, ""));
            }
            if spent {
                return Err(self.exhausted());
            }
            if self.seen.held && !held_before {
                self.report_waiting();
            }
            next = self.park(true).await?;
        }
    }

    fn report_waiting(&self) {
        let waiting = EventKind::Waiting { remaining: self.seen.remaining() };
        self.engine.report(self.bound.key(), waiting);
    }

    /// Leaves a contested key that this client has just released to others for a moment.
    async fn leave_to_rivals(&mut self) {
        let Engine { rivals, clock, .. } = &*self.engine;
        if let Some(quiet) = rivals.quiet_until(self.bound.key(), clock.now()) {
            clock.sleep_until(quiet.min(self.deadline)).await;
        }
    }

    fn see_held(&mut self, busy: Busy) {
        let key = self.bound.key();
        let endless = busy.foreign && busy.remaining.is_none();
        if endless && self.patience.wait == Wait::Forever && !self.seen.held {
            let provider = self.engine.provider.info().name();
            tracing::warn!(%key, %provider, "waiting for ever for a lock that never expires, which \
                another library has taken");
        }
        self.seen.held_by(busy, self.engine.clock.now());
    }

    /// Takes note of a backend that does not work; an error when that has lasted for too long.
    fn see_failure(&mut self, failure: Error) -> Result<()> {
        let now = self.engine.clock.now();
        if now.since(self.seen.fails(failure.clone(), now)) >= self.engine.unavailable_after {
            self.place.iter().for_each(|place| place.fail(&failure));
            return Err(failure);
        }
        // What became of this owner's requests may be what stands in the way.
        let since = self.owner_since.max(self.seen.failing_since.unwrap_or(now));
        if self.stray && self.patience.owner_is_minted && now.since(since) >= SAME_OWNER {
            self.begin_anew()?;
        }
        Ok(())
    }

    fn exhausted(&self) -> Error {
        self.give_up(ErrorKind::Contended, ", and the retry strategy has ended")
    }

    fn give_up(&self, kind: ErrorKind, why: &str) -> Error {
        self.seen.error(kind, why, self.engine.clock.now())
    }

    /// Makes one request and keeps book of what is known about it.
    ///
    /// An attempt of a bounded wait ends soon after the deadline, the first one as well (law W1).
    async fn attempt(&mut self) -> Result<Answer> {
        let ttl = self.bound.claim.ttl();
        let sent = self.engine.clock.now();
        let whole = self.engine.request_timeout.min(ttl.as_duration());
        let limit = match self.patience.wait {
            Wait::No => whole,
            Wait::AtMost(_) | Wait::Forever => {
                whole.min(self.deadline.since(sent).saturating_add(self.engine.latency.grace()))
            }
        };
        self.busy_until(sent.after(limit));
        self.attempts = self.attempts.saturating_add(1);
        self.last_attempt = sent;
        self.under_way = true;
        let (lock, fairness) = (&*self.bound.lock, self.patience.fairness);
        let subscribed = self.subscription.is_some();
        let mut answer = self.engine.call(limit, ask(lock, fairness, subscribed)).await;
        if subscribed && answer.as_ref().is_err_and(Error::is_denied) {
            // This user may ask for the key, but not wait in the store.
            (self.subscription, self.denied) = (None, true);
            answer = self.engine.call(limit, ask(lock, fairness, false)).await;
        }
        self.under_way = false;
        let answered = self.engine.clock.now();
        self.busy_until(answered);
        self.seen.cut = (limit < whole && answered >= sent.after(limit)).then_some(limit);
        if answer.is_ok() {
            self.engine.latency.observe(answered.since(sent));
        }
        match answer {
            Ok(Attempt::Granted(grant)) => {
                Ok(Answer::Granted(self.accept(Received::new(grant, sent))?))
            }
            Ok(Attempt::Held(busy)) => {
                if busy.contested {
                    self.engine.rivals.seen(self.bound.key(), answered, CONTESTED);
                }
                Ok(Answer::Held(busy))
            }
            Ok(Attempt::Undone) if self.patience.owner_is_minted => {
                self.begin_anew()?;
                let message = "an earlier attempt had to be undone; a fresh owner goes on";
                let error = Error::new(ErrorKind::Unavailable, message);
                Err(error.with_effect(Effect::NotApplied))
            }
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

    /// Goes on under a fresh owner token, as the backend grants nothing to the present one any more: an
    /// attempt had to be undone although nobody gave up, as by a quorum whose nodes lost answers.
    fn begin_anew(&mut self) -> Result<()> {
        let claim = &self.bound.claim;
        let owner = (self.engine.mint)()?;
        let fresh = Claim::new(claim.key().clone(), owner, claim.ttl());
        let fresh = fresh.with_metadata(claim.metadata().clone());
        let handed = self.place.take().is_some_and(Place::leave);
        let uncertain = self.stray || handed;
        if uncertain || self.in_store {
            let undone = self.bound.clone();
            Arc::clone(&self.engine).undo(undone, &self.runtime, uncertain);
        }
        self.bound = Bound::new(&*self.engine.provider, fresh);
        self.owner_since = self.engine.clock.now();
        (self.stray, self.in_store, self.trusting, self.subscription) = (false, false, true, None);
        Ok(())
    }

    fn busy_until(&self, until: Moment) {
        self.place.iter().for_each(|place| place.learn(|known| known.busy_until = until));
    }

    /// Turns a grant into a hold, unless it has come too late.
    fn accept(&mut self, received: Received) -> Result<Arc<Hold>> {
        let ttl = self.bound.claim.ttl();
        let now = self.engine.clock.now();
        if now >= received.sent.after(ttl.validity()) {
            self.stray = true;
            let message = "the grant came when its lease was already over";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        if let Some(place) = self.place.take() {
            // At the end of a turn the key goes to the store: the next head should queue up there.
            let ours = received.passed_on.past_others < Fairness::TURN;
            place.learn(|known| {
                (known.ours, known.held, known.failing_since) = (ours, true, None);
                known.busy_until = now;
            });
            // A hand-over that is under way as well may land at any time.
            self.stray |= place.leave();
        }
        self.granted = true;
        let (engine, runtime) = (Arc::clone(&self.engine), self.runtime.clone());
        let bound = self.bound.clone();
        Ok(Arc::new(Hold::new(engine, runtime, bound, received, self.terms, self.stray)))
    }
}

/// Sends one request: a plain attempt, or one that takes a place among the store's waiters if it is
/// refused, as soon as there is a subscription to hear of it.
async fn ask(lock: &dyn Lock, fairness: Fairness, subscribed: bool) -> Result<Attempt> {
    if subscribed {
        if fairness == Fairness::Race {
            if let Some(hints) = lock.as_hints() {
                return hints.try_acquire_or_listen().await;
            }
        } else if let Some(queue) = lock.as_queue() {
            return queue.try_acquire_or_enqueue().await;
        }
    }
    lock.try_acquire().await
}

impl Drop for Pursuit {
    fn drop(&mut self) {
        if self.under_way {
            self.busy_until(self.engine.clock.now());
        }
        let handed = self.place.take().is_some_and(Place::leave);
        let uncertain = self.under_way || self.stray || handed;
        if !self.granted && (uncertain || self.in_store) {
            Arc::clone(&self.engine).undo(self.bound.clone(), &self.runtime, uncertain);
        }
    }
}
