//! The waiters of one client: one line per key.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Engine;
use crate::backend::{Claim, Grant};
use crate::clock::Moment;
use crate::error::Error;
use crate::fairness::Fairness;
use crate::value::LockKey;

/// The waiters of one client, in a line for each key: only the head of a line makes requests, so
/// that any number of waiters costs the backend no more than one (law W2).
#[derive(Debug, Default)]
pub(crate) struct Lines {
    lines: Mutex<HashMap<LockKey, Line>>,
    /// How many lines there are, for those who only want to know that there are none.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Line {
    /// By order of arrival; the first is the head.
    seats: BTreeMap<u64, Arc<Seat>>,
    arrivals: u64,
    known: Known,
    /// How many in line can be handed the key.
    willing: usize,
}

/// What the attempts of anybody in line have shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// Until when an attempt is under way at the most, or when the last one ended.
    pub(crate) busy_until: Moment,
    /// When the head means to try next, at the latest.
    pub(crate) head_due: Moment,
    /// The key was seen to be held.
    pub(crate) held: bool,
    /// This client holds the key, and will tell the line when it lets go.
    pub(crate) ours: bool,
    /// Since when the backend fails.
    pub(crate) failing_since: Option<Moment>,
}

/// Where one waiter hears of what concerns it.
#[derive(Debug)]
struct Seat {
    claim: Claim,
    unheard: Mutex<Unheard>,
    /// Rings for [`News`].
    bell: Notify,
    /// Rings when it is time to try.
    nudge: Notify,
}

/// What a waiter has not heard yet.
#[derive(Debug, Default)]
struct Unheard {
    /// Why the line was given up.
    failure: Option<Error>,
    handover: Handing,
    /// Stands in the store's queue, which will tell it.
    queued: bool,
}

/// How far passing the key on to a waiter has come.
#[derive(Debug, Default, PartialEq, Eq)]
enum Handing {
    /// The waiter waits for the store alone.
    #[default]
    Unwanted,
    Possible,
    /// The request is under way.
    Begun,
    Done(Received),
    /// The request had no known outcome.
    Missed,
}

/// A grant, and what its holder must know of how it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) grant: Grant,
    /// Read before the request left: deadlines count from here (law G1).
    pub(crate) sent: Moment,
    pub(crate) passed_on: PassedOn,
}

/// How a key has been passed on within this client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PassedOn {
    /// How many times in a row past others who wait in the store.
    pub(crate) past_others: u8,
    /// Since when without a break.
    pub(crate) since: Option<Moment>,
}

impl Received {
    /// A grant by the store itself.
    pub(crate) fn new(grant: Grant, sent: Moment) -> Self {
        Self { grant, sent, passed_on: PassedOn::default() }
    }
}

/// What a waiter hears, in the order of importance.
#[derive(Debug)]
pub(crate) enum News {
    Handed(Received),
    /// A hand-over had no known outcome: it may still take effect.
    Missed,
    /// The head has found the backend dead.
    Failed(Error),
}

impl Seat {
    fn unheard(&self) -> MutexGuard<'_, Unheard> {
        self.unheard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, news: impl FnOnce(&mut Unheard)) {
        news(&mut self.unheard());
        self.bell.notify_one();
    }

    fn hear(&self) -> Option<News> {
        let mut unheard = self.unheard();
        match unheard.handover {
            Handing::Done(handed) => {
                unheard.handover = Handing::Possible;
                return Some(News::Handed(handed));
            }
            Handing::Missed => {
                unheard.handover = Handing::Possible;
                return Some(News::Missed);
            }
            Handing::Unwanted | Handing::Possible | Handing::Begun => {}
        }
        unheard.failure.clone().map(News::Failed)
    }
}

impl Lines {
    fn lines(&self) -> MutexGuard<'_, HashMap<LockKey, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Tells the line, if there is one, that this client has released the key: its head should try,
    /// unless the store has given the key to the head of its own queue and has `told` it.
    pub(crate) fn freed(&self, key: &LockKey, told: bool) {
        if self.are_none() {
            return;
        }
        if let Some(line) = self.lines().get_mut(key) {
            line.known.ours = false;
            if let Some(head) = line.seats.values().next() {
                let queued = head.unheard().queued;
                if !(told && queued) {
                    head.nudge.notify_one();
                }
            }
        }
    }

    /// Tells whether somebody waits for the key: whoever comes now stands behind.
    pub(crate) fn has(&self, key: &LockKey) -> bool {
        !self.are_none() && self.lines().contains_key(key)
    }

    /// Picks the waiter to whom the holder may pass the key.
    pub(crate) fn successor(&self, key: &LockKey) -> Option<Successor> {
        if self.are_none() {
            return None;
        }
        let lines = self.lines();
        let line = lines.get(key).filter(|line| line.willing > 0)?;
        let seat = line.seats.values().find(|seat| {
            let mut unheard = seat.unheard();
            let possible = unheard.handover == Handing::Possible;
            if possible {
                unheard.handover = Handing::Begun;
            }
            possible
        })?;
        Some(Successor { seat: Arc::clone(seat), answered: false })
    }
}

/// The waiter that a holder passes the key to. Dropping it says that the outcome is not known.
pub(crate) struct Successor {
    seat: Arc<Seat>,
    answered: bool,
}

impl Successor {
    pub(crate) fn claim(&self) -> &Claim {
        &self.seat.claim
    }

    pub(crate) fn grant(self, received: Received) {
        self.answer(|unheard| unheard.handover = Handing::Done(received));
    }

    /// Nothing was done for the waiter, which should try by itself.
    pub(crate) fn refuse(self) {
        let seat = Arc::clone(&self.seat);
        self.answer(|unheard| unheard.handover = Handing::Possible);
        seat.nudge.notify_one();
    }

    fn answer(mut self, news: impl FnOnce(&mut Unheard)) {
        self.answered = true;
        self.seat.tell(news);
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.answered {
            self.seat.tell(|unheard| unheard.handover = Handing::Missed);
        }
    }
}

/// A place in line; dropping it leaves the line.
pub(crate) struct Place {
    engine: Arc<Engine>,
    seat: Arc<Seat>,
    number: u64,
    willing: usize,
}

impl Place {
    /// Joins the line for the key of `claim`; its end, or the head if nobody waits.
    pub(crate) fn join(engine: &Arc<Engine>, claim: &Claim, fairness: Fairness) -> Self {
        let (handover, willing) = match fairness {
            Fairness::Turns => (Handing::Possible, 1),
            Fairness::Race | Fairness::Fifo => (Handing::Unwanted, 0),
        };
        let unheard = Mutex::new(Unheard { handover, ..Unheard::default() });
        let (claim, bell, nudge) = (claim.clone(), Notify::new(), Notify::new());
        let seat = Arc::new(Seat { claim, unheard, bell, nudge });
        let mut lines = engine.lines.lines();
        let line = lines.entry(seat.claim.key().clone()).or_default();
        let number = line.arrivals;
        line.arrivals += 1;
        line.seats.insert(number, Arc::clone(&seat));
        line.willing += willing;
        engine.lines.count.store(lines.len(), Ordering::Release);
        drop(lines);
        Self { engine: Arc::clone(engine), seat, number, willing }
    }

    fn with_line<T>(&self, look: impl FnOnce(&mut Line) -> T) -> Option<T> {
        let mut lines = self.engine.lines.lines();
        let line = lines.get_mut(self.seat.claim.key())?;
        // A line that was given up is another one now.
        let ours = line.seats.get(&self.number).is_some_and(|seat| Arc::ptr_eq(seat, &self.seat));
        ours.then(|| look(line))
    }

    pub(crate) fn is_head(&self) -> bool {
        let first = |line: &mut Line| line.seats.keys().next() == Some(&self.number);
        self.with_line(first).unwrap_or_default()
    }

    /// Waits until this waiter should try: it has become the head, this client has released the key,
    /// or a waiter's patience asks. Dropping the future loses nothing.
    pub(crate) async fn nudged(&self) {
        self.seat.nudge.notified().await;
    }

    /// Waits for something that concerns this waiter. Dropping the future loses nothing.
    pub(crate) async fn news(&self) -> News {
        loop {
            if let Some(news) = self.seat.hear() {
                return news;
            }
            self.seat.bell.notified().await;
        }
    }

    /// Asks the head to try at once.
    pub(crate) fn nudge_head(&self) {
        self.with_line(|line| {
            if let Some(head) = line.seats.values().next() {
                head.nudge.notify_one();
            }
        });
    }

    /// Says whether the store's queue will tell this waiter of a release.
    pub(crate) fn set_queued(&self, queued: bool) {
        self.seat.unheard().queued = queued;
    }

    /// Hears of the grant that came with another's release, if there is one.
    pub(crate) fn handed(&self) -> Option<Received> {
        let mut unheard = self.seat.unheard();
        let Handing::Done(handed) = unheard.handover else { return None };
        unheard.handover = Handing::Possible;
        Some(handed)
    }

    /// Leaves the line, and tells whether the key may have been passed on to this waiter without its
    /// having heard of it.
    pub(crate) fn leave(self) -> bool {
        let seat = Arc::clone(&self.seat);
        // Once out of the line, no holder can pick this waiter any more.
        drop(self);
        matches!(seat.unheard().handover, Handing::Begun | Handing::Done(_) | Handing::Missed)
    }

    /// Returns what anybody in line has learned.
    pub(crate) fn known(&self) -> Known {
        self.with_line(|line| line.known).unwrap_or_default()
    }

    /// Tells everybody in line what was learned.
    pub(crate) fn learn(&self, lesson: impl FnOnce(&mut Known)) {
        self.with_line(|line| lesson(&mut line.known));
    }

    /// Tells everybody in line that the backend is dead. Who comes later begins a new line.
    pub(crate) fn fail(&self, error: &Error) {
        let seats = self.with_line(|line| std::mem::take(&mut line.seats));
        let mut lines = self.engine.lines.lines();
        if seats.is_some() {
            lines.remove(self.seat.claim.key());
            self.engine.lines.count.store(lines.len(), Ordering::Release);
        }
        drop(lines);
        for seat in seats.into_iter().flat_map(BTreeMap::into_values) {
            seat.tell(|unheard| unheard.failure = Some(error.clone()));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.engine.lines.lines();
        let key = self.seat.claim.key();
        let Some(line) = lines.get_mut(key) else { return };
        match line.seats.remove(&self.number) {
            // The line that this place was in has been given up.
            Some(seat) if !Arc::ptr_eq(&seat, &self.seat) => {
                line.seats.insert(self.number, seat);
            }
            Some(_) if line.seats.is_empty() => {
                lines.remove(key);
                self.engine.lines.count.store(lines.len(), Ordering::Release);
            }
            Some(_) => {
                line.willing -= self.willing;
                // When this client holds the key, the next head has time: it hears of the release.
                if let Some((number, head)) = line.seats.first_key_value()
                    && self.number < *number
                    && !line.known.ours
                {
                    head.nudge.notify_one();
                }
            }
            None => {}
        }
    }
}
