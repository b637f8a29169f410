use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::hold::Grant;
use super::line::{Handed, News, Place};
use super::{Engine, Hold, validity};
use crate::client::Fairness;
use crate::clock::Moment;
use crate::error::{Effect, Effort, Error, ErrorKind, Operation, Result};
use crate::observe::EventKind;
use crate::provider::{Attempt, Capability, Lock, Signal, Watch, WatchKind};
use crate::retry::RetryStrategy;

/// How long past its deadline the last attempt of a bounded wait may take.
const LAST_ATTEMPT: Duration = Duration::from_millis(100);

/// The shortest pause between two attempts, whatever strategy, hints or the holder's remaining time
/// say; stores count that in milliseconds, rounded down.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// After how many delays in a row without an attempt of anybody a waiter asks the head to try. One
/// alone may be short by chance, and a hundred waiters have many such.
const ASK_AFTER: usize = 3;

/// A watch that has lasted this long and ends is opened again at once.
const LASTING_WATCH: Duration = Duration::from_secs(1);

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
    patience: Patience,
    started: Moment,
    deadline: Moment,
    delays: Option<Box<dyn Iterator<Item = Duration> + Send>>,
    /// When the present delay is over; hints and nudges come earlier and do not use it up.
    due: Option<Moment>,
    /// The longest delay so far.
    longest: Duration,
    place: Option<Place>,
    watch: Option<Watch>,
    /// No signal has told of a grant that was none.
    trusting: bool,
    /// When the watch was opened.
    watching_since: Moment,
    last_attempt: Moment,
    attempts: u32,
    /// What the last attempt has shown.
    seen: Seen,
    /// A request has left and its answer has not come.
    under_way: bool,
    /// A request ended without a known outcome.
    stray: bool,
    /// The store may know this claim as a waiter, and make it the holder at any time.
    in_store: bool,
    /// The last request had less time than a request may take.
    cut: bool,
    /// The hold has taken over whatever there is to undo.
    granted: bool,
}

/// What an acquisition has learned about its key.
#[derive(Default)]
struct Seen {
    held: bool,
    remaining: Option<Duration>,
    failure: Option<Error>,
    failing_since: Option<Moment>,
}

enum Answer {
    Granted(Arc<Hold>),
    Held { remaining: Option<Duration> },
}

/// Why a wait has ended.
enum Next {
    Try,
    /// The strategy's patience has ended without an attempt at its end.
    TryOnce,
    /// The strategy's patience has ended.
    GiveUp,
    Accept(Handed),
}

impl Pursuit {
    pub(crate) fn new(
        engine: Arc<Engine>,
        runtime: Handle,
        lock: Arc<dyn Lock>,
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
            lock,
            terms,
            patience,
            started,
            deadline,
            delays: None,
            due: None,
            longest: Duration::ZERO,
            place: None,
            watch: None,
            trusting: true,
            watching_since: started,
            last_attempt: started,
            attempts: 0,
            seen: Seen::default(),
            under_way: false,
            stray: false,
            in_store: false,
            cut: false,
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
    async fn wait(&mut self) -> Result<Arc<Hold>> {
        let mut next = Next::Try;
        // Who comes while others wait stands behind them.
        if self.patience.wait != Wait::No && self.engine.lines.has(self.lock.claim().key()) {
            self.report_waiting();
            next = self.park(false).await?;
        }
        loop {
            let spent = match next {
                Next::Accept(handed) => match self.accept(handed) {
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
                Ok(Answer::Held { remaining }) => self.see_held(remaining),
                Err(error) if error.is_unavailable() => self.see_failure(error)?,
                Err(error) => return Err(error),
            }
            if let Some(handed) = self.place.as_ref().and_then(Place::handed) {
                next = Next::Accept(handed);
                continue;
            }
            if self.patience.wait == Wait::No {
                return Err(self.give_up(ErrorKind::Contended, "another owner holds the lock"));
            }
            if self.engine.clock.now() >= self.deadline {
                let message = "another owner held the lock all the time";
                return Err(self.give_up(ErrorKind::TimedOut, message));
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
        let waiting = EventKind::Waiting { remaining: self.seen.remaining };
        self.engine.report(self.lock.claim().key(), waiting);
    }

    fn see_held(&mut self, remaining: Option<Duration>) {
        self.seen = Seen { held: true, remaining, failure: None, failing_since: None };
    }

    /// Takes note of a backend that does not work; an error when that has lasted for too long.
    fn see_failure(&mut self, failure: Error) -> Result<()> {
        let now = self.engine.clock.now();
        let since = *self.seen.failing_since.get_or_insert(now);
        if now.since(since) >= self.engine.unavailable_after {
            self.place.iter().for_each(|place| place.fail(&failure));
            return Err(failure);
        }
        self.seen.remaining = None;
        // A dead backend is reported as such, never as contention (law W3); but one attempt that the
        // deadline has cut says nothing about the backend.
        let only_cut = self.seen.held && self.cut && since == now;
        self.seen.failure = (!only_cut).then_some(failure);
        Ok(())
    }

    fn exhausted(&self) -> Error {
        let message = "another owner holds the lock and the retry strategy has ended";
        self.give_up(ErrorKind::Contended, message)
    }

    fn give_up(&self, kind: ErrorKind, message: &'static str) -> Error {
        let error = self.seen.failure.clone().unwrap_or_else(|| Error::new(kind, message));
        error.with_remaining(self.seen.remaining)
    }

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
    async fn park(&mut self, tried: bool) -> Result<Next> {
        let Self { engine, lock, patience, .. } = self;
        let place = self.place.get_or_insert_with(|| Place::join(engine, lock, patience.fairness));
        if !tried && place.is_head() {
            return Ok(Next::Try); // the line has ended meanwhile
        }
        if tried {
            let (held, failing_since) = (self.seen.failure.is_none(), self.seen.failing_since);
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
        let expiry = match self.seen.remaining {
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
            if head {
                wake = wake.min(expiry);
                place.learn(|known| known.head_due = wake);
            }
            // A holder in this client tells the line itself.
            let listens = fairness == Fairness::Fifo || head && !place.known().ours;
            let hints = Hints {
                engine: &self.engine,
                lock: &*self.lock,
                kind: if fairness == Fairness::Race { WatchKind::Hints } else { WatchKind::Queue },
                open: listens && self.seen.failure.is_none() && !ended,
            };
            tokio::select! {
                biased;
                news = place.news() => match news {
                    News::Handed(handed) => return Ok(Next::Accept(handed)),
                    News::Missed => {
                        self.stray = true;
                        return Ok(Next::Try);
                    }
                    News::Failed(error) => return Err(error),
                },
                // Before nudges, so that no stream of them keeps a waiter from queueing up.
                signal = hints.next(&mut self.watch) => match signal {
                    // Whatever was released before it was open is found by the try that follows.
                    Hinted::Opened => {
                        place.set_queued(hints.kind == WatchKind::Queue);
                        (self.in_store, self.watching_since) = (true, clock.now());
                        return Ok(Next::Try);
                    }
                    Hinted::Ended => {
                        place.set_queued(false);
                        self.watch = None;
                        // One that was cut is opened again; one that never lasts is not, for now.
                        ended = clock.now().since(self.watching_since) < LASTING_WATCH;
                        continue;
                    }
                    Hinted::Signal(Signal::Granted { .. }) if self.trusting => {
                        self.trusting = false;
                        return Ok(Next::Try);
                    }
                    Hinted::Signal(_) => {}
                },
                () = place.nudged() => return Ok(Next::Try),
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

    /// Makes one request and keeps book of what is known about it.
    ///
    /// The last attempt of a bounded wait has a short limit of its own.
    async fn attempt(&mut self) -> Result<Answer> {
        let ttl = self.lock.claim().ttl();
        let sent = self.engine.clock.now();
        let last = self.seen.held && sent >= self.deadline;
        let whole = self.engine.request_timeout.min(ttl.get());
        let limit = match self.attempts {
            _ if last => whole.min(LAST_ATTEMPT),
            0 if self.place.is_none() => whole,
            _ => whole.min(self.deadline.since(sent).max(LAST_ATTEMPT)),
        };
        self.busy_until(sent.after(limit));
        self.attempts = self.attempts.saturating_add(1);
        self.last_attempt = sent;
        self.under_way = true;
        let answer = self.engine.call(limit, (*self.lock).try_acquire()).await;
        self.under_way = false;
        let answered = self.engine.clock.now();
        self.busy_until(answered);
        self.cut = limit < whole && answered >= sent.after(limit);
        match answer {
            Ok(Attempt::Granted { fencing }) => {
                Ok(Answer::Granted(self.accept(Handed { fencing, turn: 0, sent })?))
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

    fn busy_until(&self, until: Moment) {
        self.place.iter().for_each(|place| place.learn(|known| known.busy_until = until));
    }

    /// Turns a grant into a hold, unless it has come too late.
    fn accept(&mut self, Handed { fencing, turn, sent }: Handed) -> Result<Arc<Hold>> {
        let ttl = self.lock.claim().ttl();
        let now = self.engine.clock.now();
        if now >= sent.after(validity(ttl)) {
            self.stray = true;
            let message = "the grant came when its lease was already over";
            let error = Error::new(ErrorKind::Unavailable, message);
            return Err(error.with_effect(Effect::Applied));
        }
        if let Some(place) = self.place.take() {
            // At the end of a turn the key goes to the store: the next head should queue up there.
            let ours = turn < Fairness::TURN;
            place.learn(|known| {
                (known.ours, known.held, known.failing_since) = (ours, true, None);
                known.busy_until = now;
            });
            // A hand-over that is under way as well may land at any time.
            self.stray |= place.leave();
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
            turn,
        };
        Ok(Arc::new(Hold::new(Arc::clone(&self.engine), grant)))
    }
}

impl Drop for Pursuit {
    fn drop(&mut self) {
        if self.under_way {
            self.busy_until(self.engine.clock.now());
        }
        let handed = self.place.take().is_some_and(Place::leave);
        let uncertain = self.under_way || self.stray || handed;
        if !self.granted && (uncertain || self.in_store) {
            Arc::clone(&self.engine).undo(Arc::clone(&self.lock), &self.runtime, uncertain);
        }
    }
}

/// Listens for what the backend has to say about a key.
struct Hints<'a> {
    engine: &'a Engine,
    lock: &'a dyn Lock,
    kind: WatchKind,
    /// Whether to open a watch where there is none.
    open: bool,
}

enum Hinted {
    Opened,
    Signal(Signal),
    Ended,
}

impl Hints<'_> {
    /// Waits for the next signal of a watch; opens it first where there is none.
    async fn next(&self, watch: &mut Option<Watch>) -> Hinted {
        if let Some(open) = watch {
            return open.next().await.map_or(Hinted::Ended, Hinted::Signal);
        }
        if self.open && self.engine.provider.info().capabilities().has(Capability::Hints) {
            match self.engine.call(self.engine.request_timeout, self.lock.watch(self.kind)).await {
                Ok(Some(open)) => {
                    *watch = Some(open);
                    return Hinted::Opened;
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "no hints, polling instead"),
            }
        }
        std::future::pending().await
    }
}
