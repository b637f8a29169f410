//! Waiting between two attempts, for a hint, the end of a lease, or the key itself.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::acquisition::Acquisition;
use super::listening::Heard;
use super::schedule::{DELAYS_IN_LINE, SHORTEST_PAUSE};
use super::wait_settings::Wait;
use crate::clock::Moment;
use crate::engine::line::{Facts, Message, Place, Received};
use crate::engine::{Engine, foreign};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::fairness::Fairness;
use crate::holding::Hold;
use crate::observe::{AcquireOutcome, EventKind};

/// How late the next request of a head may be before another waiter overtakes it. The task of the
/// head may only be waiting for a processor.
const LATE: Duration = Duration::from_millis(10);

/// The reason why a wait has ended.
enum Next {
    /// It is time for an attempt. `last` is true if the strategy has ended, so that this attempt
    /// is the last one.
    Ask { last: bool },
    /// The strategy has ended, and an attempt was made after its last delay.
    GiveUp,
    /// A hand-over has granted the key.
    Accept(Received),
}

/// An event during a pause.
enum Event {
    Message(Message),
    Heard(Heard),
    /// This waiter [has to ask](Place::has_to_ask), for instance because this client has released
    /// the key.
    Freed,
    Timer,
}

impl Acquisition {
    /// Acquires the lock, and waits as configured.
    pub(crate) async fn run(mut self) -> Result<Arc<Hold>> {
        let outcome = match self.settings.cancelled.clone() {
            None => self.until_granted().await,
            Some(token) => {
                let waiting = token.run_until_cancelled(self.until_granted()).await;
                waiting.unwrap_or_else(|| {
                    Err(Error::new(ErrorKind::Cancelled, "the caller cancelled the acquisition"))
                })
            }
        };
        self.outcome = match &outcome {
            Ok(hold) => AcquireOutcome::Acquired { fencing: hold.fencing },
            Err(error) => AcquireOutcome::NotAcquired(error.kind()),
        };
        let hold = outcome.map_err(|error| {
            let explained = self.engine.explain(error, Operation::Acquire, self.bound.key());
            explained.with_effort(self.effort())
        })?;
        self.end(); // an acquisition ends before its hold begins
        hold.begin(false);
        Ok(hold)
    }

    /// Makes attempts, and waits between them, until the key is granted or the acquisition fails.
    async fn until_granted(&mut self) -> Result<Arc<Hold>> {
        let mut next = self.begin().await?;
        loop {
            let last = match next {
                Next::Accept(received) => match self.accept(received) {
                    Ok(hold) => return Ok(hold),
                    Err(_too_late) => false,
                },
                Next::GiveUp => return Err(self.exhausted()),
                Next::Ask { last } => last,
            };
            let held_before = self.seen.held;
            if let Some(hold) = self.attempt().await? {
                return Ok(hold);
            }
            next = match self.place.as_ref().and_then(Place::handed) {
                Some(received) => Next::Accept(received),
                None => {
                    self.check_may_retry(last)?;
                    if self.seen.held && !held_before {
                        self.report_waiting();
                    }
                    self.park(true).await?
                }
            };
        }
    }

    /// Returns how to begin. If others wait, the new waiter joins their line without an attempt.
    async fn begin(&mut self) -> Result<Next> {
        if self.settings.wait != Wait::No {
            if !self.engine.foreign.are_none() {
                self.leave_to_foreign_lockers().await;
            }
            if self.engine.lines.has(self.bound.key()) {
                self.report_waiting();
                return self.park(false).await;
            }
        }
        Ok(Next::Ask { last: false })
    }

    /// Leaves a contested key that this client has just released to others for a moment.
    async fn leave_to_foreign_lockers(&mut self) {
        let Engine { foreign, clock, .. } = &*self.engine;
        if let Some(quiet) = foreign.quiet_until(self.bound.key(), clock.now()) {
            clock.sleep_until(quiet.min(self.schedule.deadline)).await;
        }
    }

    /// Checks after a refused attempt whether another one follows.
    fn check_may_retry(&self, was_last: bool) -> Result<()> {
        if self.settings.wait == Wait::No {
            return Err(self.give_up(ErrorKind::Contended, ""));
        }
        if self.now() >= self.schedule.deadline {
            return Err(self.give_up(ErrorKind::TimedOut, ", and the time to wait is over"));
        }
        if was_last { Err(self.exhausted()) } else { Ok(()) }
    }

    fn report_waiting(&mut self) {
        if std::mem::replace(&mut self.reported_waiting, true) {
            return;
        }
        let waiting = EventKind::Waiting { remaining: self.seen.remaining() };
        self.engine.report(&self.bound, waiting);
    }

    fn exhausted(&self) -> Error {
        self.give_up(ErrorKind::Contended, ", and the retry strategy has ended")
    }

    fn give_up(&self, kind: ErrorKind, why: &str) -> Error {
        self.seen.error(kind, why, self.now())
    }

    /// Waits in line for a reason to make an attempt, or for the key itself.
    ///
    /// | reason for an attempt | the head | the others |
    /// |---|---|---|
    /// | a hint to this waiter | yes | yes |
    /// | the deadline of this waiter | yes | yes |
    /// | a hand-over to this waiter was refused | yes | yes |
    /// | this client has released the key | yes | no |
    /// | the delay, or the lease of the holder, is over | yes | no |
    /// | a waiter behind it would ask much earlier | yes | no |
    /// | this waiter has become the head | | yes |
    /// | the head is overdue | | yes |
    async fn park(&mut self, asked: bool) -> Result<Next> {
        let Self { engine, bound, settings, .. } = self;
        let fairness = settings.fairness;
        let place =
            self.place.get_or_insert_with(|| Place::join(&engine.lines, &bound.claim, fairness));
        if !asked && place.is_head() {
            return Ok(Next::Ask { last: false }); // the line has ended meanwhile
        }
        if asked {
            let (held, failing_since) = (!self.seen.has_failed(), self.seen.failing_since);
            place.share(|facts| {
                (facts.held, facts.failing_since) = (held, failing_since);
                facts.ours &= !held;
            });
        }
        let next = self.pause(asked).await;
        if let Some(place) = &self.place {
            let facts = place.facts();
            self.seen.held |= facts.held;
            self.seen.failing_since = facts.failing_since;
        }
        next
    }

    async fn pause(&mut self, asked: bool) -> Result<Next> {
        let expiry = match self.seen.remaining() {
            Some(left) => self.now().after(left).after(SHORTEST_PAUSE),
            None => Moment::NEVER,
        };
        self.listening.begin_pause();
        loop {
            let began = self.now();
            let head = self.place.as_ref().is_some_and(Place::is_head);
            // Waiters behind the head check the line seldom, because there may be ten thousand.
            let delays = if head { 1 } else { DELAYS_IN_LINE };
            let Some(due) = self.schedule.due(began, delays, &self.settings) else {
                return Ok(if asked { Next::GiveUp } else { Next::Ask { last: true } });
            };
            let mut wake = due.min(self.schedule.deadline);
            if head {
                wake = wake.min(expiry).min(self.next_poll(began));
                self.share(|facts| facts.next_request = wake);
            }
            let event = self.event(head, wake).await;
            if let Some(next) = self.react(event, began, wake).await? {
                return Ok(next);
            }
        }
    }

    /// Returns the moment of the next attempt on a contested key. Foreign lockers send no hint when
    /// they release.
    ///
    /// `NEVER` if the key is not contested, or if this client holds it.
    fn next_poll(&self, now: Moment) -> Moment {
        let ours = self.place.as_ref().is_some_and(|place| place.facts().ours);
        if ours || !self.is_contested(now) {
            return Moment::NEVER;
        }
        now.after(foreign::poll(self.seen.foreign_for(now), self.bound.owner(), now))
    }

    fn is_contested(&self, now: Moment) -> bool {
        self.engine.foreign.compete(self.bound.key(), now)
    }

    /// Waits for the first event.
    async fn event(&mut self, head: bool, wake: Moment) -> Event {
        let Self { engine, bound, settings, place, listening, seen, .. } = self;
        let Some(place) = place else { return Event::Timer };
        let fairness = settings.fairness;
        // If this client holds the key, its release wakes the line without a subscription.
        let listens = fairness == Fairness::Fifo || head && !place.facts().ours;
        let opens = listens && !seen.has_failed();
        let freed = poll_fn(|_| if place.has_to_ask() { Poll::Ready(()) } else { Poll::Pending });
        tokio::select! {
            biased;
            message = place.next_message() => Event::Message(message),
            heard = listening.next(engine, bound, fairness, opens) => Event::Heard(heard),
            // This comes after the subscription. Otherwise a steady stream of releases would keep
            // the head from ever subscribing, and it would starve.
            () = freed => Event::Freed,
            () = engine.clock.sleep_until(wake) => Event::Timer,
        }
    }

    /// Returns the consequence of an event. `None` means that the wait goes on.
    async fn react(&mut self, event: Event, began: Moment, wake: Moment) -> Result<Option<Next>> {
        let ask = Some(Next::Ask { last: false });
        Ok(match event {
            Event::Message(Message::Handed(received)) => Some(Next::Accept(received)),
            Event::Message(Message::Missed) => {
                self.undo_state.stray = true;
                ask
            }
            Event::Message(Message::Failed(error)) => return Err(error),
            // Foreign lockers get the first chance at a contested key that this client has
            // released.
            Event::Freed if self.is_contested(self.now()) => None,
            Event::Freed => ask,
            // The attempt that follows finds a release that came before the subscription.
            Event::Heard(Heard::Opened) => {
                self.undo_state.in_store = true;
                ask
            }
            Event::Heard(Heard::Ended) => {
                self.set_queued(false);
                None
            }
            Event::Heard(Heard::Grant) => ask,
            Event::Heard(Heard::Hint) => {
                // Many hints must not cause as many requests.
                let earliest = self.schedule.last_attempt.after(SHORTEST_PAUSE).min(wake);
                if self.now() < earliest {
                    self.engine.clock.sleep_until(earliest).await;
                }
                ask
            }
            Event::Timer => self.is_time_to_ask(began).then_some(Next::Ask { last: false }),
        })
    }

    pub(super) fn set_queued(&self, queued: bool) {
        self.place.iter().for_each(|place| place.set_queued(queued));
    }

    /// Returns whether this waiter makes an attempt after its delays, which began at `began`.
    ///
    /// | the head | effect |
    /// |---|---|
    /// | plans its next request much later than this waiter's own strategy would | it is made to ask now |
    /// | is overdue, so it is not being polled | this waiter overtakes it |
    fn is_time_to_ask(&self, began: Moment) -> bool {
        let (now, Some(place)) = (self.now(), &self.place) else { return true };
        // `Place::drop` does not wake a new head while this client holds the key.
        if place.is_head() || now >= self.schedule.deadline {
            return true;
        }
        let Facts { next_request, under_way, last_request, .. } = place.facts();
        // A request of another waiter, perhaps of the head, has ended since then.
        if last_request >= began {
            return false;
        }
        if next_request.after(LATE) <= now {
            return true;
        }
        if !under_way && self.schedule.is_far(next_request, now) {
            place.hurry_head(now);
        }
        false
    }
}
