//! One acquisition: its attempts, their answers, and the undo of those without an answer.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tracing::Level;

use super::listening::Listening;
use super::schedule::Schedule;
use super::seen::Seen;
use super::wait_settings::{Wait, WaitSettings};
use crate::backend::{Attempt, Busy, Claim, Lock, Verb};
use crate::clock::Moment;
use crate::engine::foreign::CONTESTED;
use crate::engine::line::{Facts, Place, Received};
use crate::engine::{Bound, Engine};
use crate::error::{Effect, Effort, Error, ErrorKind, Result};
use crate::fairness::Fairness;
use crate::holding::{Hold, HoldSettings};
use crate::observe::{AcquireOutcome, EventKind};

/// An acquisition whose requests had no answer for this long continues under a fresh owner token.
const SAME_OWNER: Duration = Duration::from_secs(2);

/// One acquisition in progress.
///
/// Dropping it at any point undoes a request whose outcome is unknown (laws U1, G5).
pub(crate) struct Acquisition {
    pub(super) engine: Arc<Engine>,
    /// Runs the undo after the task of the caller has ended.
    runtime: Handle,
    pub(super) bound: Bound,
    holding: HoldSettings,
    pub(super) settings: WaitSettings,
    pub(super) schedule: Schedule,
    /// The place in the line of this client. `None` before the first wait, and after the grant.
    pub(super) place: Option<Place>,
    pub(super) listening: Listening,
    pub(super) attempts: u32,
    /// The moment since which the acquisition uses its present owner token.
    owner_since: Moment,
    pub(super) seen: Seen,
    pub(super) undo_state: UndoState,
    /// Whether its wait was reported. A wait is reported only once.
    pub(super) reported_waiting: bool,
    /// How it ends, if its future is dropped now.
    pub(super) outcome: AcquireOutcome,
    /// Its end was counted and reported.
    ended: bool,
}

/// What the store may still have from this owner. If a field is true at the end, the owner must be
/// undone, unless it was granted.
#[derive(Default)]
pub(super) struct UndoState {
    /// A request is in flight.
    under_way: bool,
    /// A request ended without a known outcome, so a copy of it may take effect late.
    pub(super) stray: bool,
    /// The owner may have a place in the queue of the store, which can grant it the key at any
    /// time.
    pub(super) in_store: bool,
    /// A hold exists, which takes over what there is to undo.
    granted: bool,
}

impl Acquisition {
    pub(crate) fn new(
        engine: Arc<Engine>,
        runtime: Handle,
        bound: Bound,
        holding: HoldSettings,
        settings: WaitSettings,
    ) -> Self {
        let now = engine.clock.now();
        engine.numbers.acquire_started();
        engine.report(&bound, EventKind::AcquireStarted);
        Self {
            runtime,
            bound,
            holding,
            schedule: Schedule::new(now, settings.wait),
            settings,
            place: None,
            listening: Listening::default(),
            attempts: 0,
            owner_since: now,
            seen: Seen::default(),
            undo_state: UndoState::default(),
            reported_waiting: false,
            outcome: AcquireOutcome::Dropped,
            ended: false,
            engine,
        }
    }

    /// Counts and reports the end, once.
    pub(super) fn end(&mut self) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.engine.numbers.acquire_ended();
        if self.engine.reporter.is_listening(Level::DEBUG) {
            let (outcome, effort) = (self.outcome, self.effort());
            self.engine.report(&self.bound, EventKind::AcquireEnded { outcome, effort });
        }
    }

    pub(super) fn effort(&self) -> Effort {
        Effort { attempts: self.attempts, waited: self.now().since(self.schedule.started) }
    }

    pub(super) fn now(&self) -> Moment {
        self.engine.clock.now()
    }

    /// Sends one request, and returns the hold if it is granted.
    ///
    /// `None` if the key is held, or if the backend fails and a retry may help.
    ///
    /// # Errors
    ///
    /// The backend has failed for too long, or for good.
    pub(super) async fn attempt(&mut self) -> Result<Option<Arc<Hold>>> {
        let sent = self.now();
        let ttl = self.bound.claim.ttl().as_duration();
        let whole = self.engine.request_timeout.min(ttl);
        let limit = whole.min(self.time_left(sent));
        self.share(|facts| (facts.next_request, facts.under_way) = (sent.after(limit), true));
        self.attempts = self.attempts.saturating_add(1);
        self.schedule.last_attempt = sent;
        self.undo_state.under_way = true;
        let answer = self.send(sent, limit).await;
        self.undo_state.under_way = false;
        // After an attempt that was lost or denied, the owner may not be in the store's queue.
        let queues = self.listening.is_open() && self.settings.fairness != Fairness::Race;
        self.set_queued(queues && matches!(answer, Ok(Attempt::Held(_))));
        let answered = self.now();
        self.share(|facts| facts.end_request(answered));
        self.seen.cut = (limit < whole && answered >= sent.after(limit)).then_some(limit);
        if answer.is_ok() {
            self.engine.latency.observe(answered.since(sent));
        }
        match self.judge(answer, sent, answered) {
            Err(error) if error.is_unavailable() => self.see_failure(error).map(|()| None),
            judged => judged,
        }
    }

    /// Returns how long an attempt may take. Every attempt of a bounded wait ends soon after the
    /// deadline (law W1).
    fn time_left(&self, now: Moment) -> Duration {
        match self.settings.wait {
            Wait::No => Duration::MAX,
            Wait::AtMost(_) | Wait::Forever => {
                self.schedule.deadline.since(now).saturating_add(self.engine.latency.grace())
            }
        }
    }

    /// Sends an attempt. With an open subscription, it also joins the waiters of the store.
    async fn send(&mut self, sent: Moment, limit: Duration) -> Result<Attempt> {
        let (bound, fairness) = (&self.bound, self.settings.fairness);
        let listens = self.listening.is_open();
        let request = ask(&*bound.lock, fairness, listens);
        let answer = self.engine.request(bound, Verb::TryAcquire, limit, request).await;
        if listens && answer.as_ref().is_err_and(Error::is_denied) {
            // This user may acquire the key, but not wait in the store.
            let denied = self.engine.clock.now();
            self.listening.deny(denied);
            let left = limit.saturating_sub(denied.since(sent));
            let request = ask(&*bound.lock, fairness, false);
            return self.engine.request(bound, Verb::TryAcquire, left, request).await;
        }
        answer
    }

    /// Draws the conclusions from an answer.
    fn judge(
        &mut self,
        answer: Result<Attempt>,
        sent: Moment,
        answered: Moment,
    ) -> Result<Option<Arc<Hold>>> {
        match answer {
            Ok(Attempt::Granted(grant)) => self.accept(Received::new(grant, sent)).map(Some),
            Ok(Attempt::Held(busy)) => {
                if busy.contested {
                    self.engine.foreign.seen(self.bound.key(), answered, CONTESTED);
                }
                self.see_held(busy, answered);
                Ok(None)
            }
            Ok(Attempt::Undone) if self.settings.owner_is_minted => {
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
                self.undo_state.stray |= error.effect() != Effect::NotApplied;
                Err(error)
            }
        }
    }

    fn see_held(&mut self, busy: Busy, now: Moment) {
        let endless = busy.foreign && busy.remaining.is_none();
        if endless && self.settings.wait == Wait::Forever && !self.seen.held {
            let (key, provider) = (self.bound.key(), self.engine.provider.info().name());
            tracing::warn!(%key, %provider, "waiting without limit for a lock of another library that \
                never expires");
        }
        self.seen.held_by(busy, now);
    }

    /// Records a failure of the backend, and returns it if the backend has failed for too long.
    fn see_failure(&mut self, failure: Error) -> Result<()> {
        let now = self.now();
        if now.since(self.seen.fails(failure.clone(), now)) >= self.engine.unavailable_after {
            self.place.iter().for_each(|place| place.fail(&failure));
            return Err(failure);
        }
        // The unanswered requests of this owner may be the cause of the failures.
        let since = self.owner_since.max(self.seen.failing_since.unwrap_or(now));
        if self.undo_state.stray && self.settings.owner_is_minted && now.since(since) >= SAME_OWNER
        {
            self.begin_anew()?;
        }
        Ok(())
    }

    /// Undoes the present owner, and continues under a fresh owner token.
    ///
    /// It has one of two reasons:
    ///
    /// * The backend has undone an attempt of the present owner, so it no longer grants the key to
    ///   that owner. A quorum does so if its nodes lost answers.
    /// * Unanswered requests of the present owner may be why the backend fails.
    fn begin_anew(&mut self) -> Result<()> {
        let claim = &self.bound.claim;
        let fresh = Claim::new(claim.key().clone(), (self.engine.mint)()?, claim.ttl());
        let fresh = fresh.with_metadata(claim.metadata().clone());
        self.undo();
        self.bound = self.bound.again(&*self.engine.provider, fresh);
        self.owner_since = self.now();
        (self.listening, self.undo_state) = Default::default();
        Ok(())
    }

    /// Undoes what the store may still have from this owner, in the background.
    fn undo(&mut self) {
        let handed = self.place.take().is_some_and(Place::leave);
        let uncertain = self.undo_state.under_way || self.undo_state.stray || handed;
        if !self.undo_state.granted && (uncertain || self.undo_state.in_store) {
            Arc::clone(&self.engine).undo(self.bound.clone(), &self.runtime, uncertain);
        }
    }

    /// Changes the facts that the line shares, if this acquisition is in a line.
    pub(super) fn share(&self, change: impl FnOnce(&mut Facts)) {
        if let Some(place) = &self.place {
            place.share(change);
        }
    }

    /// Turns a grant into a hold, unless it came too late.
    pub(super) fn accept(&mut self, received: Received) -> Result<Arc<Hold>> {
        let now = self.now();
        let ttl = self.bound.claim.ttl();
        if now >= received.sent.after(self.engine.margins.validity(ttl)) {
            self.undo_state.stray = true;
            let message = "the grant came after its lease had ended";
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        if let Some(place) = self.place.take() {
            // After the last hold of a turn, the store decides which client is next. So the next
            // head must queue there.
            let ours = received.passed_on.past_others < Fairness::TURN;
            place.share(|facts| {
                (facts.ours, facts.held, facts.failing_since) = (ours, true, None);
                facts.end_request(now);
            });
            // A hand-over that is also in flight may take effect at any time.
            self.undo_state.stray |= place.leave();
        }
        self.undo_state.granted = true;
        let (engine, runtime) = (Arc::clone(&self.engine), self.runtime.clone());
        let (bound, stray) = (self.bound.clone(), self.undo_state.stray);
        let holding = std::mem::take(&mut self.holding); // nothing is acquired after this
        Ok(Arc::new(Hold::new(engine, runtime, bound, received, holding, stray)))
    }
}

/// Asks for the key once. If `listens` is true, it also joins the waiters of the store.
async fn ask(lock: &dyn Lock, fairness: Fairness, listens: bool) -> Result<Attempt> {
    if listens {
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

impl Drop for Acquisition {
    fn drop(&mut self) {
        if self.undo_state.under_way {
            let now = self.now();
            self.share(|facts| facts.end_request(now));
        }
        self.end();
        self.undo(); // its events follow
    }
}
