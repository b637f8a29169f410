//! Giving a lock back: to the backend, to the next waiter of this client, in the background.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Hold, Over};
use crate::backend::{Release, Transfer};
use crate::engine::line::{PassedOn, Received};
use crate::engine::rivals::CONTESTED;
use crate::error::{Effect, Error, ErrorKind, Operation, Result};
use crate::fairness::Fairness;
use crate::observe::EventKind;

/// A key that is passed on from waiter to waiter is never free for a locker of another library, and so
/// none is ever seen. So it is released once after this time.
const LONGEST_UNBROKEN: Duration = Duration::from_secs(2);

/// For how long this client leaves it to others then.
const BREAK: Duration = Duration::from_millis(25);

/// What a release says that found somebody else's lock, or none.
const NOT_HELD: &str = "the lease had ended before the release, so another owner may have held the \
                        lock meanwhile";

/// What is known of the requests that give the lock back.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Releasing {
    /// Whether the local deadline had passed when the first of them left; `None` before that.
    late: Option<bool>,
    /// One of them may have taken effect without an answer.
    unanswered: bool,
    outcome: Option<GivenBack>,
    /// Copies that might still take the key have been seen to as well.
    complete: bool,
}

/// What the first answer to a release says of the time before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GivenBack {
    /// What the backend answered.
    answer: Release,
    /// The lock had been held until then, as far as the answer can tell.
    in_time: bool,
}

impl GivenBack {
    fn new(answer: Release, excused: bool) -> Self {
        Self { answer, in_time: answer != Release::NotHeld || excused }
    }
}

impl Hold {
    /// Lets the request under way come to its end, and ends the hold. A renewal that landed later would
    /// change the lease of whoever resumes the lock.
    pub(crate) async fn settle_and_end(&self) {
        let _alone = self.alone().await;
        self.leave_to_its_ttl();
    }

    /// Ends the hold, but not the lease.
    pub(crate) fn leave_to_its_ttl(&self) {
        self.end(Over::Done);
        self.engine.lines.freed(self.bound.key(), false);
    }

    /// Releases once, and fails with [`ErrorKind::Lost`] if the lock had been lost before (law G4).
    pub(crate) async fn release(&self) -> Result<()> {
        let given_back = self.give_back().await;
        let key = self.bound.key();
        let lost = |error: Error| Err(self.engine.explain(error, Operation::Release, key));
        // A loss that was noticed is reported even if the backend does not answer now.
        if let Some(Over::Lost(_)) = self.over() {
            return lost(self.lost_error());
        }
        match given_back? {
            GivenBack { in_time: true, .. } => Ok(()),
            GivenBack { in_time: false, .. } => lost(Error::new(ErrorKind::Lost, NOT_HELD)),
        }
    }

    /// Whether the backend has confirmed that nothing of this lock is left there.
    pub(crate) fn is_given_back(&self) -> bool {
        self.state().releasing.complete
    }

    /// Gives the lock back. The hold is over from the first call on, whatever the backend answers.
    async fn give_back(&self) -> Result<GivenBack> {
        self.end(Over::Done);
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
            self.engine.release_for_good(&*self.bound.lock).await.map_err(explain)?;
        }
        self.state().releasing.complete = true;
        let held = self.now().since(self.since);
        self.engine.report(key, EventKind::Released { outcome: outcome.answer, held });
        Ok(outcome)
    }

    /// Sends one request that gives the lock back, and returns with its answer whether "not held" is
    /// excused, so that it proves no loss.
    ///
    /// It is excused if an earlier request can have freed the key: one of ours without an answer, or a
    /// copy that the driver has sent. After the local deadline nothing excuses it, as the lease had
    /// ended by then whatever freed the key.
    async fn send_release<T>(&self, request: impl Future<Output = Result<T>>) -> Result<(T, bool)> {
        let (late, unanswered) = {
            let now = self.now();
            let mut state = self.state();
            let late = now >= state.belief.deadline();
            let late = *state.releasing.late.get_or_insert(late);
            // Dropping this future leaves it so.
            (late, std::mem::replace(&mut state.releasing.unanswered, true))
        };
        let answer = self.engine.call(self.engine.request_timeout, request).await;
        let nothing_sent = |error: &Error| error.effect() == Effect::NotApplied;
        if answer.as_ref().err().is_none_or(nothing_sent) {
            self.state().releasing.unanswered = unanswered;
        }
        let excused = unanswered || self.engine.provider.info().may_resend();
        Ok((answer?, excused && !late))
    }

    /// Sends the release: to the backend alone, or together with the acquisition of whoever is next
    /// in this client.
    async fn let_go(&self) -> Result<GivenBack> {
        let lines = &self.engine.lines;
        let key = self.bound.key();
        // A release that must also stop stray copies takes several requests; and after so many
        // hand-overs it is another client's turn.
        let rivals = &self.engine.rivals;
        let (stray, passed_on) = {
            let state = self.state();
            (state.stray, state.passed_on)
        };
        let break_is_due =
            passed_on.since.is_some_and(|since| self.now().since(since) >= LONGEST_UNBROKEN);
        if !stray
            && passed_on.past_others < Fairness::TURN
            && !break_is_due
            && (rivals.are_none() || !rivals.compete(key, self.now()))
            && let Some(hand_over) = self.bound.lock.as_hand_over()
            && let Some(successor) = lines.successor(key)
        {
            let sent = self.now();
            let request = hand_over.hand_over(successor.claim());
            match self.send_release(request).await {
                Ok((Transfer::Granted { grant, others }, excused)) => {
                    let past_others = if others { passed_on.past_others + 1 } else { 0 };
                    let since = passed_on.since.or(Some(sent));
                    let passed_on = PassedOn { past_others, since };
                    successor.grant(Received { grant, sent, passed_on });
                    return Ok(GivenBack::new(Release::Released, excused));
                }
                Ok((refused @ (Transfer::Refused | Transfer::NotHeld), excused)) => {
                    successor.refuse();
                    lines.freed(key, false);
                    let held = refused == Transfer::Refused;
                    let answer = if held { Release::Released } else { Release::NotHeld };
                    return Ok(GivenBack::new(answer, excused));
                }
                // This user lacks the right; a plain release may work.
                Err(error) if error.is_denied() => successor.refuse(),
                Err(error) => return Err(error),
            }
        }
        let (answer, excused) = self.send_release((*self.bound.lock).release()).await?;
        if answer == Release::Contested {
            rivals.seen(key, self.now(), CONTESTED);
        } else if break_is_due && lines.has(key) {
            rivals.seen(key, self.now(), BREAK);
        }
        if !rivals.are_none() {
            rivals.released(&self.bound.claim, self.now());
        }
        // A store serves nobody while foreign lockers compete, so the head must ask.
        lines.freed(key, answer == Release::Released);
        Ok(GivenBack::new(answer, excused))
    }

    /// Releases on the runtime of the acquisition: a dropped guard cannot wait.
    pub(crate) fn release_in_background(self: &Arc<Self>) {
        self.end(Over::Done);
        let hold = Arc::clone(self);
        // On a runtime that has shut down the task is dropped, and the ttl frees the key.
        self.runtime.spawn(async move {
            let give_up = hold.state().belief.latest_end();
            let key = hold.bound.key().clone();
            let retried = hold.engine.retry_until(give_up, || hold.give_back()).await;
            if let Err(cause) = retried {
                hold.engine.report(&key, EventKind::ReleaseFailed { cause });
            }
        });
    }
}
