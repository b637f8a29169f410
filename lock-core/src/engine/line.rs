//! The waiters of one client: one line per key, in which each waiter has a mailbox.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::backend::{Claim, Grant};
use crate::clock::Moment;
use crate::error::Error;
use crate::fairness::Fairness;
use crate::value::LockKey;

/// The waiters of one client. Only the head of a line makes requests, so that any number of waiters
/// costs the backend no more than one (law W2).
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// A key has a line as long as somebody waits for it.
    lines: Mutex<HashMap<LockKey, Line>>,
    /// How many lines there are, for callers that only need to know that there are none.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Line {
    /// By order of arrival; the first is the head.
    waiters: BTreeMap<u64, Arc<Mailbox>>,
    arrivals: u64,
    facts: Facts,
    /// How many in line can be handed the key, so that a release need not look at those who cannot.
    open_to_hand_over: usize,
}

/// What everybody in line knows of the key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// When the next request is made, or the one that is under way has ended, at the latest. A head that
    /// lets this moment pass is not polled, and is overtaken.
    pub(crate) next_request: Moment,
    /// A request is under way. Nobody makes another one meanwhile (law W2).
    pub(crate) under_way: bool,
    /// When the last request ended.
    pub(crate) last_request: Moment,
    /// The key was seen to be held.
    pub(crate) held: bool,
    /// This client holds the key, and tells the line when it is released.
    pub(crate) ours: bool,
    /// Since when the backend fails.
    pub(crate) failing_since: Option<Moment>,
}

impl Facts {
    /// Takes note that a request has ended.
    pub(crate) fn end_request(&mut self, now: Moment) {
        (self.next_request, self.under_way, self.last_request) = (now, false, now);
    }
}

/// Where one waiter is told what concerns it.
#[derive(Debug)]
struct Mailbox {
    claim: Claim,
    mail: Mutex<Mail>,
    /// Rings when something was put in. One ring may stand for several letters.
    bell: Notify,
}

/// What a waiter has not been told yet.
#[derive(Debug)]
struct Mail {
    offer: Offer,
    /// Why the line was given up.
    failure: Option<Error>,
    /// It should ask the backend now.
    ask: bool,
    /// It has a place in the store's queue, which tells it of a release.
    queued: bool,
}

/// How far handing the key to a waiter has come.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// It waits for the store alone.
    Declined,
    Possible,
    /// The request is under way.
    Sent,
    Granted(Received),
    /// The request had no known outcome.
    Unknown,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PassedOn {
    /// How many times in a row past others who wait in the store.
    pub(crate) past_others: u8,
    /// Since when without a break; never if the store itself granted the key.
    pub(crate) since: Moment,
}

impl Received {
    /// A grant by the store itself.
    pub(crate) fn new(grant: Grant, sent: Moment) -> Self {
        let passed_on = PassedOn { past_others: 0, since: Moment::NEVER };
        Self { grant, sent, passed_on }
    }
}

/// What ends a wait, in the order of importance.
#[derive(Debug)]
pub(crate) enum News {
    /// It holds the key, by another's release.
    Handed(Received),
    /// A hand-over to it had no known outcome: it may still take effect.
    Missed,
    /// The head has found the backend dead.
    Failed(Error),
}

impl Mailbox {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, change: impl FnOnce(&mut Mail)) {
        change(&mut self.mail());
        self.bell.notify_one();
    }
}

impl Mail {
    /// Takes the grant that came with another's release, if there is one.
    fn take_grant(&mut self) -> Option<Received> {
        let Offer::Granted(received) = self.offer else { return None };
        self.offer = Offer::Possible;
        Some(received)
    }

    fn take(&mut self) -> Option<News> {
        if let Some(received) = self.take_grant() {
            return Some(News::Handed(received));
        }
        if self.offer == Offer::Unknown {
            self.offer = Offer::Possible;
            return Some(News::Missed);
        }
        self.failure.clone().map(News::Failed)
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<LockKey, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Tells the line, if there is one, that this client has released the key: its head should ask,
    /// unless the store has given the key to the head of its own queue and has `told` it.
    pub(crate) fn freed(&self, key: &LockKey, told: bool) {
        if self.are_none() {
            return;
        }
        if let Some(line) = self.lock().get_mut(key) {
            line.facts.ours = false;
            if let Some(head) = line.waiters.values().next()
                && !(told && head.mail().queued)
            {
                head.put(|mail| mail.ask = true);
            }
        }
    }

    /// Returns whether somebody waits for the key: whoever comes now stands behind.
    pub(crate) fn has(&self, key: &LockKey) -> bool {
        !self.are_none() && self.lock().contains_key(key)
    }

    /// Picks the waiter to whom the holder may hand the key.
    pub(crate) fn successor(&self, key: &LockKey) -> Option<Successor> {
        if self.are_none() {
            return None;
        }
        let lines = self.lock();
        let line = lines.get(key).filter(|line| line.open_to_hand_over > 0)?;
        let mailbox = line.waiters.values().find(|mailbox| {
            let mut mail = mailbox.mail();
            let possible = mail.offer == Offer::Possible;
            if possible {
                mail.offer = Offer::Sent;
            }
            possible
        })?;
        Some(Successor { mailbox: Arc::clone(mailbox), answered: false })
    }
}

/// The waiter that a holder hands the key to. Dropping it tells the waiter that the outcome is not known.
pub(crate) struct Successor {
    mailbox: Arc<Mailbox>,
    answered: bool,
}

impl Successor {
    pub(crate) fn claim(&self) -> &Claim {
        &self.mailbox.claim
    }

    pub(crate) fn grant(self, received: Received) {
        self.answer(|mail| mail.offer = Offer::Granted(received));
    }

    /// Nothing was done for the waiter, which should ask by itself.
    pub(crate) fn refuse(self) {
        self.answer(|mail| (mail.offer, mail.ask) = (Offer::Possible, true));
    }

    fn answer(mut self, change: impl FnOnce(&mut Mail)) {
        self.answered = true;
        self.mailbox.put(change);
    }
}

impl Drop for Successor {
    fn drop(&mut self) {
        if !self.answered {
            self.mailbox.put(|mail| mail.offer = Offer::Unknown);
        }
    }
}

/// A place in line; dropping it leaves the line.
pub(crate) struct Place {
    lines: Arc<Lines>,
    mailbox: Arc<Mailbox>,
    number: u64,
    /// Whether this waiter is counted among those who can be handed the key.
    is_open: bool,
}

impl Place {
    /// Joins the line for the key of `claim`; its end, or the head if nobody waits.
    pub(crate) fn join(lines: &Arc<Lines>, claim: &Claim, fairness: Fairness) -> Self {
        let is_open = fairness == Fairness::Turns;
        let offer = if is_open { Offer::Possible } else { Offer::Declined };
        let mail = Mail { offer, failure: None, ask: false, queued: false };
        let (claim, mail, bell) = (claim.clone(), Mutex::new(mail), Notify::new());
        let mailbox = Arc::new(Mailbox { claim, mail, bell });
        let mut all = lines.lock();
        let line = all.entry(mailbox.claim.key().clone()).or_default();
        let number = line.arrivals;
        line.arrivals += 1;
        line.waiters.insert(number, Arc::clone(&mailbox));
        line.open_to_hand_over += usize::from(is_open);
        lines.count.store(all.len(), Ordering::Release);
        drop(all);
        Self { lines: Arc::clone(lines), mailbox, number, is_open }
    }

    fn with_line<T>(&self, look: impl FnOnce(&mut Line) -> T) -> Option<T> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(self.mailbox.claim.key())?;
        // A line that was given up is another one now.
        let own = line.waiters.get(&self.number).is_some_and(|one| Arc::ptr_eq(one, &self.mailbox));
        own.then(|| look(line))
    }

    pub(crate) fn is_head(&self) -> bool {
        let first = |line: &mut Line| line.waiters.keys().next() == Some(&self.number);
        self.with_line(first).unwrap_or_default()
    }

    /// Waits for something that ends the wait. Also wakes the task when there is a reason to
    /// [ask](Self::has_to_ask). Dropping the future loses nothing.
    pub(crate) async fn news(&self) -> News {
        loop {
            if let Some(news) = self.mailbox.mail().take() {
                return news;
            }
            self.mailbox.bell.notified().await;
        }
    }

    /// Returns, once, whether this waiter should ask the backend: it has become the head, or this client
    /// has released the key.
    pub(crate) fn has_to_ask(&self) -> bool {
        std::mem::take(&mut self.mailbox.mail().ask)
    }

    /// Makes the head ask now, and takes its word for it.
    pub(crate) fn hurry_head(&self, now: Moment) {
        self.with_line(|line| {
            line.facts.next_request = now;
            if let Some(head) = line.waiters.values().next() {
                head.put(|mail| mail.ask = true);
            }
        });
    }

    /// Takes the grant that came with another's release, if there is one.
    pub(crate) fn handed(&self) -> Option<Received> {
        self.mailbox.mail().take_grant()
    }

    /// Sets whether the store's queue tells this waiter of a release.
    pub(crate) fn set_queued(&self, queued: bool) {
        self.mailbox.mail().queued = queued;
    }

    /// Leaves the line, and returns whether the key may have been handed to this waiter without its
    /// knowing.
    pub(crate) fn leave(self) -> bool {
        let mailbox = Arc::clone(&self.mailbox);
        // Once out of the line, no holder can pick this waiter any more.
        drop(self);
        matches!(mailbox.mail().offer, Offer::Sent | Offer::Granted(_) | Offer::Unknown)
    }

    /// Returns what everybody in line knows.
    pub(crate) fn facts(&self) -> Facts {
        self.with_line(|line| line.facts).unwrap_or_default()
    }

    /// Shares what was learned with everybody in line.
    pub(crate) fn share(&self, lesson: impl FnOnce(&mut Facts)) {
        self.with_line(|line| lesson(&mut line.facts));
    }

    /// Tells everybody in line that the backend is dead. Whoever comes later begins a new line.
    pub(crate) fn fail(&self, error: &Error) {
        let waiters = self.with_line(|line| std::mem::take(&mut line.waiters));
        let mut lines = self.lines.lock();
        if waiters.is_some() {
            lines.remove(self.mailbox.claim.key());
            self.lines.count.store(lines.len(), Ordering::Release);
        }
        drop(lines);
        for mailbox in waiters.into_iter().flat_map(BTreeMap::into_values) {
            mailbox.put(|mail| mail.failure = Some(error.clone()));
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        let key = self.mailbox.claim.key();
        let Some(line) = lines.get_mut(key) else { return };
        match line.waiters.remove(&self.number) {
            // The line that this place was in has been given up.
            Some(other) if !Arc::ptr_eq(&other, &self.mailbox) => {
                line.waiters.insert(self.number, other);
            }
            Some(_) if line.waiters.is_empty() => {
                lines.remove(key);
                self.lines.count.store(lines.len(), Ordering::Release);
            }
            Some(_) => {
                line.open_to_hand_over -= usize::from(self.is_open);
                // When this client holds the key, the next head has time: it is told of the release.
                if let Some((number, head)) = line.waiters.first_key_value()
                    && self.number < *number
                    && !line.facts.ours
                {
                    head.put(|mail| mail.ask = true);
                }
            }
            None => {}
        }
    }
}
