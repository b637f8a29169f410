//! The release of a lock: to the backend, or to the next waiter of this client.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::hold::Hold;
use super::releasing::GivenBack;
use crate::backend::{HandOver, Release, Transfer, Verb};
use crate::clock::Moment;
use crate::engine::Engine;
use crate::engine::foreign::CONTESTED;
use crate::engine::line::{PassedOn, Received, Successor};
use crate::error::{Effect, Error, ErrorKind, Operation, Result};
use crate::fairness::Fairness;
use crate::observe::{Answer, EventKind, HoldOutcome};

/// How long a key may be handed from waiter to waiter without a break. A locker of another library
/// never finds it free meanwhile, so it is released once after this time.
const LONGEST_UNBROKEN: Duration = Duration::from_secs(2);

/// How long a break is, in which this client leaves the key to others.
const BREAK: Duration = Duration::from_millis(25);

/// The message of a release after which this owner did not hold the key.
const NOT_HELD: &str = "the lease had ended before the release, so another owner may have held the \
                        lock meanwhile";

impl Hold {
    /// Waits for the request in flight, and ends the hold. A renewal that took effect later would
    /// change the lease of the process that resumes the lock.
    pub(crate) async fn settle_and_end(&self) {
        let _alone = self.alone().await;
        self.leave_to_its_ttl(HoldOutcome::Detached);
    }

    /// Ends the hold. The lease goes on until its ttl ends.
    pub(crate) fn leave_to_its_ttl(&self, outcome: HoldOutcome) {
        self.end(outcome);
        self.engine.lines.freed(self.bound.key(), false);
    }

    /// Releases once, and fails with [`ErrorKind::Lost`] if the lock had been lost before (law G4).
    pub(crate) async fn release(&self) -> Result<()> {
        let given_back = self.give_back().await;
        let key = self.bound.key();
        let lost = |error: Error| Err(self.engine.explain(error, Operation::Release, key));
        // A loss that was noticed is reported even if the backend does not answer now.
        if let Some(HoldOutcome::Lost(_)) = self.over() {
            return lost(self.lost_error());
        }
        match given_back? {
            GivenBack { in_time: true, .. } => Ok(()),
            GivenBack { in_time: false, .. } => lost(Error::new(ErrorKind::Lost, NOT_HELD)),
        }
    }

    /// Returns whether the backend has confirmed that nothing of this lock is left.
    pub(crate) fn is_given_back(&self) -> bool {
        self.state().releasing.complete
    }

    /// Gives the lock back. The hold is over from the first call on, even if the backend fails.
    async fn give_back(&self) -> Result<GivenBack> {
        self.end(HoldOutcome::GivenBack);
        let key = self.bound.key();
        let alone = self.alone().await;
        let explain = |error| self.engine.explain(error, Operation::Release, key);
        let (known, stray) = {
            let state = self.state();
            (state.releasing.outcome, state.stray)
        };
        let outcome = match known {
            Some(outcome) => outcome,
            None => {
                let outcome = self.let_go().await.map_err(explain)?;
                *self.state().releasing.outcome.get_or_insert(outcome)
            }
        };
        if stray || alone.is_err() {
            self.engine.release_for_good(&self.bound).await.map_err(explain)?;
        }
        self.state().releasing.complete = true;
        self.engine.report(&self.bound, EventKind::Released { answer: outcome.answer });
        Ok(outcome)
    }

    /// Sends one request that gives the lock back. Returns its answer, and whether the answer "not
    /// held" is excused, which means that it does not prove a loss.
    ///
    /// | an earlier request or a copy by the driver may have freed the key | deadline | "not held" is |
    /// |---|---|---|
    /// | yes | not reached when the first request left | excused |
    /// | yes | reached | the proof of a loss, because the lease had ended |
    /// | no | any | the proof of a loss |
    async fn send_release<T: Answer>(
        &self,
        verb: Verb,
        request: impl Future<Output = Result<T>>,
    ) -> Result<(T, bool)> {
        let (late, unanswered) = {
            let now = self.now();
            let mut state = self.state();
            let late = now >= state.validity.deadline();
            let late = *state.releasing.late.get_or_insert(late);
            // If this future is dropped, `unanswered` stays true.
            (late, std::mem::replace(&mut state.releasing.unanswered, true))
        };
        let limit = self.engine.request_timeout;
        let answer = self.engine.request(&self.bound, verb, limit, request).await;
        let nothing_sent = |error: &Error| error.effect() == Effect::NotApplied;
        if answer.as_ref().err().is_none_or(nothing_sent) {
            self.state().releasing.unanswered = unanswered;
        }
        let excused = unanswered || self.engine.provider.info().may_resend();
        Ok((answer?, excused && !late))
    }

    /// Sends the release, as a hand-over if a waiter of this client is next.
    async fn let_go(&self) -> Result<GivenBack> {
        let (stray, passed_on) = {
            let state = self.state();
            (state.stray, state.passed_on())
        };
        let now = self.now();
        let break_is_due = now.since(passed_on.since) >= LONGEST_UNBROKEN;
        // A hold with stray copies needs several releases, so it is not handed over.
        if !stray
            && !break_is_due
            && let Some((hand_over, successor)) = self.successor(passed_on, now)
            && let Some(given_back) = self.pass_on(hand_over, successor, passed_on).await?
        {
            return Ok(given_back);
        }
        self.let_go_to_all(break_is_due).await
    }

    /// Picks the waiter of this client that gets the key.
    ///
    /// `None` if there is no such waiter, if the store has no hand-over, if the turn of this client
    /// is over, or if foreign lockers compete for the key.
    fn successor(&self, passed_on: PassedOn, now: Moment) -> Option<(&dyn HandOver, Successor)> {
        let Engine { foreign, lines, .. } = &*self.engine;
        let key = self.bound.key();
        let ours = passed_on.past_others < Fairness::TURN
            && (foreign.are_none() || !foreign.compete(key, now));
        let hand_over = self.bound.lock.as_hand_over().filter(|_| ours)?;
        Some((hand_over, lines.successor(key)?))
    }

    /// Hands the key to a waiter of this client, or returns `None` if this user may not.
    async fn pass_on(
        &self,
        hand_over: &dyn HandOver,
        successor: Successor,
        passed_on: PassedOn,
    ) -> Result<Option<GivenBack>> {
        let sent = self.now();
        let (transfer, excused) =
            match self.send_release(Verb::HandOver, hand_over.hand_over(successor.claim())).await {
                Ok(answer) => answer,
                // This user may still use a plain release.
                Err(error) if error.is_denied() => {
                    successor.refuse();
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
        let answer = match transfer {
            Transfer::Granted { grant, others } => {
                let past_others = if others { passed_on.past_others + 1 } else { 0 };
                let since = passed_on.since.min(sent);
                let passed_on = PassedOn { past_others, since };
                successor.grant(Received { grant, sent, passed_on });
                return Ok(Some(GivenBack::new(Release::Released, excused)));
            }
            Transfer::Refused => Release::Released,
            Transfer::NotHeld => Release::NotHeld,
        };
        successor.refuse();
        self.engine.lines.freed(self.bound.key(), false);
        Ok(Some(GivenBack::new(answer, excused)))
    }

    /// Frees the key. If `break_is_due` is true, this client then leaves it to others for a moment.
    async fn let_go_to_all(&self, break_is_due: bool) -> Result<GivenBack> {
        let request = (*self.bound.lock).release();
        let (answer, excused) = self.send_release(Verb::Release, request).await?;
        let Engine { foreign, lines, .. } = &*self.engine;
        let key = self.bound.key();
        if answer == Release::Contested {
            foreign.seen(key, self.now(), CONTESTED);
        } else if break_is_due && lines.has(key) {
            foreign.seen(key, self.now(), BREAK);
        }
        if !foreign.are_none() {
            foreign.released(&self.bound.claim, self.now());
        }
        // A store grants to no waiter while foreign lockers compete, so the head must ask.
        lines.freed(key, answer == Release::Released);
        Ok(GivenBack::new(answer, excused))
    }

    /// Releases on the runtime of the acquisition, because a dropped guard cannot wait.
    pub(crate) fn release_in_background(self: &Arc<Self>) {
        self.end(HoldOutcome::GivenBack);
        let hold = Arc::clone(self);
        // On a runtime that has shut down the task is dropped, and the ttl frees the key.
        Arc::clone(&self.engine).in_background(&self.runtime, async move {
            let validity = hold.state().validity;
            let lasts = hold.now().after(validity.ttl().as_duration());
            let give_up = if validity.is_in_doubt() { Moment::NEVER } else { lasts };
            let retried = hold.engine.retry_until(give_up, || hold.give_back()).await;
            if let Err(cause) = retried {
                hold.engine.report(&hold.bound, EventKind::ReleaseFailed { cause });
            }
        });
    }
}
