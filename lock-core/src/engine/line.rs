//! The waiters of one client: one line per key, and one mailbox per waiter.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::backend::{Claim, Grant};
use crate::clock::Moment;
use crate::error::Error;
use crate::fairness::Fairness;
use crate::value::LockKey;

/// The waiters of one client, in one line per key.
///
/// Only the head of a line sends requests, so any number of waiters costs the backend no more
/// requests than one waiter (law W2).
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// A key has a line if and only if at least one waiter waits for it.
    lines: Mutex<HashMap<LockKey, Line>>,
    /// The length of `lines`. It is set under their mutex, which a reader that finds zero does not
    /// need.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Line {
    /// In the order of arrival. The first is the head.
    waiters: BTreeMap<u64, Arc<Mailbox>>,
    /// The number of the next waiter. It only grows, so numbers are unique within a line.
    arrivals: u64,
    facts: Facts,
    /// The number of waiters that are eligible for a hand-over. While it is zero, a release searches
    /// no line.
    eligible: usize,
}

/// The facts about a key that its line shares.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts {
    /// The latest moment at which the head sends the next request, or ends the one in flight. A
    /// head that lets this moment pass is not being polled, so another waiter overtakes it.
    pub(crate) next_request: Moment,
    /// A request is in flight. No other waiter sends one meanwhile (law W2).
    pub(crate) under_way: bool,
    /// The moment at which the last request ended.
    pub(crate) last_request: Moment,
    /// The last answer said that the key is held.
    pub(crate) held: bool,
    /// This client holds the key, so its release wakes the line.
    pub(crate) ours: bool,
    /// The moment of the first failure since the last answer of the backend.
    pub(crate) failing_since: Option<Moment>,
}

impl Facts {
    /// Records that a request has ended.
    pub(crate) fn end_request(&mut self, now: Moment) {
        (self.next_request, self.under_way, self.last_request) = (now, false, now);
    }
}

/// The mailbox of one waiter, into which other tasks put what concerns it.
#[derive(Debug)]
struct Mailbox {
    claim: Claim,
    mail: Mutex<Mail>,
    /// Notified when something was put in. One notification may stand for several entries.
    notify: Notify,
}

/// The content of a mailbox: what its waiter has not read yet.
#[derive(Debug)]
struct Mail {
    offer: Offer,
    /// The failure with which the line ended.
    failure: Option<Error>,
    /// The waiter should send a request now.
    ask: bool,
    /// The waiter has a place in the queue of the store, which reports a release to it.
    queued: bool,
}

/// The state of handing the key to a waiter.
#[derive(Debug, PartialEq, Eq)]
enum Offer {
    /// No holder hands the key to this waiter.
    Declined,
    /// A holder may pick this waiter.
    Possible,
    /// A holder has picked this waiter, and its request is in flight.
    Sent,
    /// The key was granted to this waiter, which has not read the grant yet.
    Granted(Received),
    /// The outcome of the request is unknown.
    Unknown,
}

/// A grant, with the moment of its request and the history of the key in this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) grant: Grant,
    /// The moment before the request left. Deadlines count from here (law G1).
    pub(crate) sent: Moment,
    pub(crate) passed_on: PassedOn,
}

/// How a key has been handed on within this client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PassedOn {
    /// How many hand-overs there were in a row while other clients waited in the store.
    pub(crate) past_others: u8,
    /// The moment since which the key was never free; `NEVER` if the store itself granted it.
    pub(crate) since: Moment,
}

impl Received {
    /// Describes a grant by the store itself.
    pub(crate) fn new(grant: Grant, sent: Moment) -> Self {
        let passed_on = PassedOn { past_others: 0, since: Moment::NEVER };
        Self { grant, sent, passed_on }
    }
}

/// A message that ends a wait. If there are several, the first variant here is read first.
#[derive(Debug)]
pub(crate) enum Message {
    /// A hand-over has granted the key to this waiter.
    Handed(Received),
    /// A hand-over to this waiter had no known outcome, so it may still take effect.
    Missed,
    /// The head has found that the backend does not work.
    Failed(Error),
}

impl Mailbox {
    fn mail(&self) -> MutexGuard<'_, Mail> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, change: impl FnOnce(&mut Mail)) {
        change(&mut self.mail());
        self.notify.notify_one();
    }
}

impl Mail {
    /// Takes the grant of a hand-over, if there is one.
    fn take_grant(&mut self) -> Option<Received> {
        let Offer::Granted(received) = self.offer else { return None };
        self.offer = Offer::Possible;
        Some(received)
    }

    fn take(&mut self) -> Option<Message> {
        if let Some(received) = self.take_grant() {
            return Some(Message::Handed(received));
        }
        if self.offer == Offer::Unknown {
            self.offer = Offer::Possible;
            return Some(Message::Missed);
        }
        self.failure.clone().map(Message::Failed)
    }
}

impl Lines {
    fn lock(&self) -> MutexGuard<'_, HashMap<LockKey, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_none(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// Reports to the line that this client has released the key. The head then sends a request.
    ///
    /// `reported` is true if the store reports the release to the waiters in its queue. A head that
    /// is in that queue then sends no request.
    pub(crate) fn freed(&self, key: &LockKey, reported: bool) {
        if self.are_none() {
            return;
        }
        if let Some(line) = self.lock().get_mut(key) {
            line.facts.ours = false;
            if let Some(head) = line.waiters.values().next()
                && !(reported && head.mail().queued)
            {
                head.put(|mail| mail.ask = true);
            }
        }
    }

    /// Returns whether the key has a line. A new waiter joins it at its end.
    pub(crate) fn has(&self, key: &LockKey) -> bool {
        !self.are_none() && self.lock().contains_key(key)
    }

    /// Picks the waiter to which the holder may hand the key.
    pub(crate) fn successor(&self, key: &LockKey) -> Option<Successor> {
        if self.are_none() {
            return None;
        }
        let lines = self.lock();
        let line = lines.get(key).filter(|line| line.eligible > 0)?;
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

/// The waiter to which a holder hands the key. Dropping it reports an unknown outcome to that
/// waiter.
pub(crate) struct Successor {
    mailbox: Arc<Mailbox>,
    /// The waiter has been given an outcome, so dropping this reports none.
    answered: bool,
}

impl Successor {
    pub(crate) fn claim(&self) -> &Claim {
        &self.mailbox.claim
    }

    pub(crate) fn grant(self, received: Received) {
        self.answer(|mail| mail.offer = Offer::Granted(received));
    }

    /// Reports that the waiter got nothing, so that it sends a request itself.
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

/// A place in a line. Dropping it leaves the line.
pub(crate) struct Place {
    lines: Arc<Lines>,
    mailbox: Arc<Mailbox>,
    /// The number in the line. After the line has ended, another waiter may have the same number.
    number: u64,
    /// This waiter is eligible for a hand-over, so its line counts it.
    is_eligible: bool,
}

impl Place {
    /// Joins the line for the key of `claim` at its end.
    pub(crate) fn join(lines: &Arc<Lines>, claim: &Claim, fairness: Fairness) -> Self {
        let is_eligible = fairness == Fairness::Turns;
        let offer = if is_eligible { Offer::Possible } else { Offer::Declined };
        let mail = Mail { offer, failure: None, ask: false, queued: false };
        let (claim, mail, notify) = (claim.clone(), Mutex::new(mail), Notify::new());
        let mailbox = Arc::new(Mailbox { claim, mail, notify });
        let mut all = lines.lock();
        let line = all.entry(mailbox.claim.key().clone()).or_default();
        let number = line.arrivals;
        line.arrivals += 1;
        line.waiters.insert(number, Arc::clone(&mailbox));
        line.eligible += usize::from(is_eligible);
        lines.count.store(all.len(), Ordering::Release);
        drop(all);
        Self { lines: Arc::clone(lines), mailbox, number, is_eligible }
    }

    fn with_line<T>(&self, look: impl FnOnce(&mut Line) -> T) -> Option<T> {
        let mut lines = self.lines.lock();
        let line = lines.get_mut(self.mailbox.claim.key())?;
        self.stands_in(line).then(|| look(line))
    }

    pub(crate) fn is_head(&self) -> bool {
        let first = |line: &mut Line| line.waiters.keys().next() == Some(&self.number);
        self.with_line(first).unwrap_or_default()
    }

    /// Waits for a message, which ends the wait.
    ///
    /// The task also wakes up when there is a reason to [ask](Self::has_to_ask). Dropping the
    /// future loses nothing.
    pub(crate) async fn next_message(&self) -> Message {
        loop {
            if let Some(message) = self.mailbox.mail().take() {
                return message;
            }
            self.mailbox.notify.notified().await;
        }
    }

    /// Returns whether this waiter should send a request, and resets that.
    ///
    /// | reason | which waiter |
    /// |---|---|
    /// | this client has released the key | the head |
    /// | another waiter [hurries](Self::hurry_head) the head | the head |
    /// | the head has left | the new head |
    /// | a hand-over was refused | the one that was picked |
    pub(crate) fn has_to_ask(&self) -> bool {
        std::mem::take(&mut self.mailbox.mail().ask)
    }

    /// Makes the head ask now, and records that it will.
    pub(crate) fn hurry_head(&self, now: Moment) {
        self.with_line(|line| {
            line.facts.next_request = now;
            if let Some(head) = line.waiters.values().next() {
                head.put(|mail| mail.ask = true);
            }
        });
    }

    /// Takes the grant of a hand-over, if there is one.
    pub(crate) fn handed(&self) -> Option<Received> {
        self.mailbox.mail().take_grant()
    }

    /// Sets whether the queue of the store reports a release to this waiter.
    pub(crate) fn set_queued(&self, queued: bool) {
        self.mailbox.mail().queued = queued;
    }

    /// Leaves the line. Returns whether a hand-over to this waiter is in flight, or has an outcome
    /// that the waiter has not read.
    pub(crate) fn leave(self) -> bool {
        let mailbox = Arc::clone(&self.mailbox);
        // No holder picks a waiter that has left its line, so `offer` does not become `Sent` later.
        drop(self);
        matches!(mailbox.mail().offer, Offer::Sent | Offer::Granted(_) | Offer::Unknown)
    }

    /// Returns the facts that the line shares.
    pub(crate) fn facts(&self) -> Facts {
        self.with_line(|line| line.facts).unwrap_or_default()
    }

    /// Changes the facts that the line shares.
    pub(crate) fn share(&self, change: impl FnOnce(&mut Facts)) {
        self.with_line(|line| change(&mut line.facts));
    }

    /// Ends the line with a failure, which all its waiters get. The next waiter begins a new line.
    pub(crate) fn fail(&self, error: &Error) {
        let key = self.mailbox.claim.key();
        let mut lines = self.lines.lock();
        let line =
            lines.get(key).filter(|line| self.stands_in(line)).is_some().then(|| lines.remove(key));
        self.lines.count.store(lines.len(), Ordering::Release);
        drop(lines);
        for mailbox in line.flatten().into_iter().flat_map(|line| line.waiters.into_values()) {
            mailbox.put(|mail| mail.failure = Some(error.clone()));
        }
    }

    /// Returns whether this place is in `line`. A line that has failed may have been followed by
    /// another one.
    fn stands_in(&self, line: &Line) -> bool {
        line.waiters.get(&self.number).is_some_and(|one| Arc::ptr_eq(one, &self.mailbox))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        let key = self.mailbox.claim.key();
        let Some(line) = lines.get_mut(key) else { return };
        match line.waiters.remove(&self.number) {
            // The line of this place has ended, and another waiter has this number in a new one.
            Some(other) if !Arc::ptr_eq(&other, &self.mailbox) => {
                line.waiters.insert(self.number, other);
            }
            Some(_) if line.waiters.is_empty() => {
                lines.remove(key);
                self.lines.count.store(lines.len(), Ordering::Release);
            }
            Some(_) => {
                line.eligible -= usize::from(self.is_eligible);
                // If this client holds the key, its release wakes the next head.
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
