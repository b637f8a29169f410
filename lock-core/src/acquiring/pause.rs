//! Waiting between two attempts: for a hint, for the end of a lease, or for the key itself.

use std::sync::Arc;
use std::time::Duration;

use super::Pursuit;
use crate::backend::{self, Lock, Signal, Subscription};
use crate::clock::Moment;
use crate::engine::Engine;
use crate::engine::line::{News, Place, Received};
use crate::engine::rivals;
use crate::error::Result;
use crate::fairness::Fairness;

/// The shortest pause between two attempts, whatever strategy, hints or the holder's remaining time
/// say; stores count that in milliseconds, rounded down.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// After how many delays in a row without an attempt of anybody a waiter asks the head to try. One
/// alone may be short by chance, and a hundred waiters have many such.
const ASK_AFTER: usize = 3;

/// A watch that has lasted this long and ends is opened again at once.
const LASTING_WATCH: Duration = Duration::from_secs(1);

/// Why a wait has ended.
pub(super) enum Next {
    Try,
    /// The strategy's patience has ended without an attempt at its end.
    TryOnce,
    /// The strategy's patience has ended.
    GiveUp,
    Accept(Received),
}

impl Pursuit {
    /// Returns when the strategy wants so many attempts more; `None` when its patience has ended.
    fn due(&mut self, now: Moment, attempts: usize) -> Option<Moment> {
        if self.due.is_none_or(|due| due <= now) {
            let delays = self.delays.get_or_insert_with(|| self.patience.retry.delays());
            self.due = None;
            for delay in delays.take(attempts) {
                let delay = delay.max(SHORTEST_PAUSE);
                self.longest = self.longest.max(delay);
                self.due = Some(self.due.unwrap_or(now).after(delay));
            }
        }
        self.due
    }

    /// Waits in line for a reason to try, or for the key itself.
    ///
    /// The head tries when its delay or the holder's lease is over, at a hint and when it is nudged.
    /// The others let it make the requests: they try at the head, at the deadline, past a head that
    /// does not move, and at a hint of their own.
    pub(super) async fn park(&mut self, tried: bool) -> Result<Next> {
        let Self { engine, bound, patience, .. } = self;
        let place =
            self.place.get_or_insert_with(|| Place::join(engine, &bound.claim, patience.fairness));
        if !tried && place.is_head() {
            return Ok(Next::Try); // the line has ended meanwhile
        }
        if tried {
            let (held, failing_since) = (!self.seen.has_failed(), self.seen.failing_since);
            place.learn(|known| {
                (known.held, known.failing_since) = (held, failing_since);
                known.ours &= !held;
            });
        }
        let next = self.pause(tried).await;
        if let Some(place) = &self.place {
            let known = place.known();
            self.seen.held |= known.held;
            self.seen.failing_since = known.failing_since;
        }
        next
    }

    /// Looks up from the line when a delay is over; `None` means to go on waiting.
    ///
    /// A delay is an upper bound, so a head that does nothing for so long is asked to try, and then
    /// passed.
    fn look_up(&self, began: Moment, asked_since: &mut Option<Moment>) -> Option<Next> {
        let place = self.place.as_ref()?;
        let now = self.engine.clock.now();
        // It may have become the head without a word: see `Place::drop`.
        if place.is_head() || now >= self.deadline {
            return Some(Next::Try);
        }
        let since = asked_since.unwrap_or(began);
        let known = place.known();
        // One that means to try soon, as delays of this waiter's strategy go, is left alone.
        let plan = known.head_due.since(now);
        let soon = !plan.is_zero() && plan <= self.longest.saturating_mul(3);
        if known.busy_until >= since || soon {
            *asked_since = None;
            return None;
        }
        if asked_since.is_some() {
            return Some(Next::Try);
        }
        place.nudge_head();
        *asked_since = Some(since);
        None
    }

    async fn pause(&mut self, tried: bool) -> Result<Next> {
        let clock = Arc::clone(&self.engine.clock);
        let expiry = match self.seen.remaining() {
            Some(left) => clock.now().after(left).after(SHORTEST_PAUSE),
            None => Moment::NEVER,
        };
        let fairness = self.patience.fairness;
        let (mut asked_since, mut ended) = (None, false);
        loop {
            let began = clock.now();
            let head = self.place.as_ref().is_some_and(Place::is_head);
            // Who stands behind looks up seldom: ten thousand may stand there.
            let patient = !head && asked_since.is_none();
            let Some(due) = self.due(began, if patient { ASK_AFTER } else { 1 }) else {
                return Ok(if tried { Next::GiveUp } else { Next::TryOnce });
            };
            let Some(place) = &self.place else { return Ok(Next::Try) };
            let mut wake = due.min(self.deadline);
            let contested = |now| self.engine.rivals.compete(self.bound.key(), now);
            if head {
                wake = wake.min(expiry);
                // Nothing is heard of a foreign release. One of ours nudges the head.
                if contested(began) && !place.known().ours {
                    let held_for = self.seen.foreign_for(began);
                    let owner = self.bound.owner();
                    wake = wake.min(began.after(rivals::poll(held_for, owner, began)));
                }
                place.learn(|known| known.head_due = wake);
            }
            // A holder in this client tells the line itself.
            let listens = fairness == Fairness::Fifo || head && !place.known().ours;
            let hints = Hints {
                engine: &self.engine,
                lock: &*self.bound.lock,
                queues: fairness != Fairness::Race,
                open: listens && !self.seen.has_failed() && !ended && !self.denied,
            };
            tokio::select! {
                biased;
                news = place.news() => match news {
                    News::Handed(received) => return Ok(Next::Accept(received)),
                    News::Missed => {
                        self.stray = true;
                        return Ok(Next::Try);
                    }
                    News::Failed(error) => return Err(error),
                },
                // Before nudges, so that no stream of them keeps a waiter from queueing up.
                signal = hints.next(&mut self.subscription) => match signal {
                    // Whatever was released before it was open is found by the try that follows.
                    Hinted::Opened => {
                        place.set_queued(hints.queues);
                        (self.in_store, self.subscribed_since) = (true, clock.now());
                        return Ok(Next::Try);
                    }
                    Hinted::Denied => {
                        self.denied = true;
                        continue;
                    }
                    Hinted::Ended => {
                        place.set_queued(false);
                        self.subscription = None;
                        // One that was cut is opened again; one that never lasts is not, for now.
                        ended = clock.now().since(self.subscribed_since) < LASTING_WATCH;
                        continue;
                    }
                    Hinted::Signal(Signal::Granted) if self.trusting => {
                        self.trusting = false;
                        return Ok(Next::Try);
                    }
                    Hinted::Signal(_) => {}
                },
                // Foreign lockers have the first chance at a contested key that this client releases.
                () = place.nudged() => match contested(clock.now()) {
                    true => continue,
                    false => return Ok(Next::Try),
                },
                () = clock.sleep_until(wake) => match self.look_up(began, &mut asked_since) {
                    Some(next) => return Ok(next),
                    None => continue,
                },
            }
            // A storm of hints is not a storm of requests.
            let earliest = self.last_attempt.after(SHORTEST_PAUSE).min(wake);
            if clock.now() < earliest {
                clock.sleep_until(earliest).await;
            }
            return Ok(Next::Try);
        }
    }
}

/// Listens for what the backend has to say about a key.
struct Hints<'a> {
    engine: &'a Engine,
    lock: &'a dyn Lock,
    /// Whether the waiter is to queue in the store.
    queues: bool,
    /// Whether to open a subscription where there is none.
    open: bool,
}

enum Hinted {
    Opened,
    Signal(Signal),
    Ended,
    /// This user may not subscribe.
    Denied,
}

impl Hints<'_> {
    /// Waits for the next signal of a subscription; opens it first where there is none.
    async fn next(&self, subscription: &mut Option<Subscription>) -> Hinted {
        if let Some(open) = subscription {
            return open.next().await.map_or(Hinted::Ended, Hinted::Signal);
        }
        let hints: Option<&dyn backend::Hints> = match self.queues {
            true => self.lock.as_queue().map(|queue| queue as _),
            false => self.lock.as_hints(),
        };
        if self.open
            && let Some(hints) = hints
        {
            match self.engine.call(self.engine.request_timeout, hints.subscribe()).await {
                Ok(open) => {
                    *subscription = Some(open);
                    return Hinted::Opened;
                }
                Err(error) => {
                    tracing::debug!(%error, "no subscription, polling instead");
                    if error.is_denied() {
                        return Hinted::Denied;
                    }
                }
            }
        }
        std::future::pending().await
    }
}
