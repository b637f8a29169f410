//! The reference store: every verb as a pure transition of a map, with the time as an argument.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use lock_core::backend::{
    Attempt, Claim, Grant, Release, Renewal, Signal, SignalSender, Subscription, Transfer, Ttl,
};
use lock_core::clock::Moment;
use lock_core::{FencingToken, Holder, LockKey, Metadata, Occupancy, OwnerToken};

/// How far ahead of the clock a floor may be. A floor beyond that is ignored.
const FURTHEST_FLOOR: Duration = Duration::from_secs(1);

/// With fewer entries than this nothing is swept, because the sweep would cost more than it frees.
const SWEEP_FLOOR: usize = 1024;

/// The laws of a lock store, as plain code without I/O or time of its own.
#[derive(Debug, Default)]
pub(crate) struct Store {
    /// May contain leases that have ended, until the next sweep.
    leases: HashMap<LockKey, Lease>,
    /// The tombstones: owners that may not acquire, and until when.
    undone: HashMap<(LockKey, OwnerToken), Moment>,
    waiters: HashMap<LockKey, Waiters>,
    /// The last fencing token of all keys. It never decreases, even when an idle key is removed.
    last_fencing: u64,
    /// The number of entries at which the next sweep is due.
    sweep_at: usize,
}

#[derive(Debug)]
struct Lease {
    owner: OwnerToken,
    metadata: Metadata,
    fencing: Option<FencingToken>,
    ends: Moment,
}

/// The waiters of a key.
#[derive(Debug, Default)]
struct Waiters {
    /// The owners with a subscription. Every owner in `queue` or `listeners` is here as well.
    subscribed: HashMap<OwnerToken, Waiter>,
    /// The queue, in the order of arrival.
    queue: BTreeMap<u64, OwnerToken>,
    /// The owners that get a hint at the next release, in the order of arrival.
    listeners: BTreeMap<u64, OwnerToken>,
    /// The last number in `queue` or `listeners`. It only grows.
    arrivals: u64,
}

#[derive(Debug)]
struct Waiter {
    claim: Claim,
    sender: SignalSender,
    place: Place,
}

/// The place of a subscribed owner. It agrees with `queue` and `listeners`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// None yet, because no attempt was refused since the subscription.
    None,
    /// In `listeners`, under this number.
    Listening(u64),
    /// In `queue`, under this number.
    Queued(u64),
}

/// How an owner waits after a refused attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The owner does not wait in the store.
    No,
    Listen,
    Enqueue,
}

impl Waiters {
    fn enter(&mut self, owner: &OwnerToken, waiting: Waiting) {
        let Some(waiter) = self.subscribed.get_mut(owner) else { return };
        let number = self.arrivals + 1;
        match (waiting, waiter.place) {
            (Waiting::Listen, Place::None) => {
                waiter.place = Place::Listening(number);
                self.listeners.insert(number, *owner);
            }
            (Waiting::Enqueue, Place::None | Place::Listening(_)) => {
                if let Place::Listening(before) = waiter.place {
                    self.listeners.remove(&before);
                }
                waiter.place = Place::Queued(number);
                self.queue.insert(number, *owner);
            }
            _ => return,
        }
        self.arrivals = number;
    }

    fn leave(&mut self, owner: &OwnerToken) -> Option<Waiter> {
        let waiter = self.subscribed.remove(owner)?;
        match waiter.place {
            Place::None => {}
            Place::Listening(number) => drop(self.listeners.remove(&number)),
            Place::Queued(number) => drop(self.queue.remove(&number)),
        }
        Some(waiter)
    }

    /// Returns the first owner in the queue whose waiter still listens.
    fn head(&mut self) -> Option<OwnerToken> {
        while let Some((_, owner)) = self.queue.first_key_value() {
            let owner = *owner;
            if self.subscribed.get(&owner).is_some_and(|waiter| !waiter.sender.is_closed()) {
                return Some(owner);
            }
            self.leave(&owner);
        }
        None
    }

    /// Sends a hint to all listeners, which leave the list then.
    fn tell_listeners(&mut self) {
        for owner in std::mem::take(&mut self.listeners).into_values() {
            if let Some(waiter) = self.subscribed.get_mut(&owner) {
                waiter.place = Place::None;
                waiter.sender.send(Signal::Hint);
            }
        }
    }

    fn forget_the_gone(&mut self) {
        self.subscribed.retain(|_, waiter| !waiter.sender.is_closed());
        self.queue.retain(|_, owner| self.subscribed.contains_key(owner));
        self.listeners.retain(|_, owner| self.subscribed.contains_key(owner));
    }

    /// Returns the number of waiters that still listen.
    fn count(&self) -> usize {
        let waits = |waiter: &&Waiter| waiter.place != Place::None && !waiter.sender.is_closed();
        self.subscribed.values().filter(waits).count()
    }
}

impl Store {
    /// The lease on a key that has not ended yet.
    fn live(&mut self, key: &LockKey, now: Moment) -> Option<&mut Lease> {
        self.leases.get_mut(key).filter(|lease| now < lease.ends)
    }

    fn live_of(&mut self, claim: &Claim, now: Moment) -> Option<&mut Lease> {
        self.live(claim.key(), now).filter(|lease| lease.owner == *claim.owner_token())
    }

    fn is_undone(&self, claim: &Claim, now: Moment) -> bool {
        // Building the key of the map costs an allocation, so it is skipped for an empty map.
        !self.undone.is_empty()
            && self
                .undone
                .get(&(claim.key().clone(), *claim.owner_token()))
                .is_some_and(|until| now < *until)
    }

    /// Answers an attempt. A new grant gets a fencing token of at least `floor`.
    pub(crate) fn attempt(
        &mut self,
        claim: &Claim,
        waiting: Waiting,
        floor: u64,
        now: Moment,
    ) -> Attempt {
        if self.is_undone(claim, now) {
            return Attempt::Undone;
        }
        let (key, owner) = (claim.key(), claim.owner_token());
        if self.live(key, now).is_none() {
            self.serve(key, Some(owner), now);
        }
        if let Some(lease) = self.live(key, now) {
            if lease.owner != *owner {
                let remaining = lease.ends.since(now);
                if let Some(waiters) = self.waiters.get_mut(key) {
                    waiters.enter(owner, waiting);
                }
                return Attempt::held(remaining);
            }
            lease.ends = lease.ends.max(now.after(claim.ttl().as_duration()));
            return Attempt::granted(lease.fencing);
        }
        let fencing = self.grant(claim, claim.ttl().as_duration(), floor, now);
        self.sweep_if_due(now);
        Attempt::granted(fencing)
    }

    fn grant(
        &mut self,
        claim: &Claim,
        lasts: Duration,
        floor: u64,
        now: Moment,
    ) -> Option<FencingToken> {
        // The clock is a floor as well, so that a new store continues above the tokens of an
        // earlier one.
        let heeded = micros(now.after(FURTHEST_FLOOR));
        let floor = micros(now).max(if floor > heeded { 0 } else { floor });
        let ends = now.after(lasts);
        let (owner, metadata) = (*claim.owner_token(), claim.metadata().clone());
        if let Some(waiters) = self.waiters.get_mut(claim.key()) {
            waiters.leave(&owner);
        }
        self.give(claim.key(), owner, metadata, ends, floor)
    }

    fn give(
        &mut self,
        key: &LockKey,
        owner: OwnerToken,
        metadata: Metadata,
        ends: Moment,
        floor: u64,
    ) -> Option<FencingToken> {
        self.last_fencing = floor.max(self.last_fencing + 1);
        let fencing = FencingToken::new(self.last_fencing);
        self.leases.insert(key.clone(), Lease { owner, metadata, fencing, ends });
        fencing
    }

    /// Grants a free key to the head of its queue for a short time, unless the head is `asking`
    /// itself.
    fn serve(&mut self, key: &LockKey, asking: Option<&OwnerToken>, now: Moment) {
        let Some(waiters) = self.waiters.get_mut(key) else { return };
        let Some(head) = waiters.head().filter(|head| asking != Some(head)) else { return };
        let Some(Waiter { claim, sender, .. }) = waiters.leave(&head) else { return };
        let window = claim.ttl().as_duration().min(Signal::CONFIRM_WINDOW);
        self.grant(&claim, window, 0, now);
        sender.send(Signal::Granted);
    }

    pub(crate) fn renew(&mut self, claim: &Claim, ttl: Ttl, now: Moment) -> Renewal {
        match self.live_of(claim, now) {
            Some(lease) => {
                lease.ends = now.after(ttl.as_duration());
                Renewal::renewed(lease.fencing)
            }
            None => Renewal::Lost,
        }
    }

    pub(crate) fn raise(
        &mut self,
        claim: &Claim,
        fencing: FencingToken,
        now: Moment,
    ) -> Option<FencingToken> {
        let lease = self.live_of(claim, now)?;
        lease.fencing = lease.fencing.max(Some(fencing));
        let raised = lease.fencing;
        self.last_fencing = self.last_fencing.max(raised.map_or(0, FencingToken::as_u64));
        raised
    }

    pub(crate) fn release(&mut self, claim: &Claim, now: Moment) -> Release {
        if let Some(waiters) = self.waiters.get_mut(claim.key()) {
            waiters.leave(claim.owner_token());
        }
        if self.live_of(claim, now).is_none() {
            self.undone
                .insert((claim.key().clone(), *claim.owner_token()), now.after(Release::TOMBSTONE));
            self.sweep_if_due(now);
            return Release::NotHeld;
        }
        self.free(claim.key(), now);
        Release::Released
    }

    /// Ends a lease, and grants the key to the head of its queue or sends hints.
    fn free(&mut self, key: &LockKey, now: Moment) {
        self.leases.remove(key);
        self.serve(key, None, now);
        if let Some(waiters) = self.waiters.get_mut(key)
            && !self.leases.contains_key(key)
        {
            waiters.tell_listeners();
        }
    }

    pub(crate) fn hand_over(&mut self, claim: &Claim, next: &Claim, now: Moment) -> Transfer {
        let key = claim.key();
        let repeated = self.live_of(next, now).is_some();
        if self.live_of(claim, now).is_none() && !repeated {
            let _ = self.release(claim, now);
            return Transfer::NotHeld;
        }
        if self.is_undone(next, now) {
            self.free(key, now);
            return Transfer::Refused;
        }
        let ttl = next.ttl().as_duration();
        let fencing = match self.live_of(next, now) {
            Some(lease) => {
                lease.ends = lease.ends.max(now.after(ttl));
                lease.fencing
            }
            None => self.grant(next, ttl, 0, now),
        };
        let others = self.waiters.get(key).is_some_and(|waiters| waiters.count() > 0);
        Transfer::Granted { grant: Grant::new(fencing), others }
    }

    pub(crate) fn inspect(&mut self, key: &LockKey, now: Moment) -> Occupancy {
        let waiting = self.waiters(key.as_str());
        let occupancy = self.live(key, now).map_or_else(Occupancy::free, |lease| {
            let holder = Holder::new(lease.owner.fingerprint())
                .with_metadata(lease.metadata.clone())
                .with_remaining(lease.ends.since(now))
                .with_fencing(lease.fencing);
            Occupancy::held_by(holder)
        });
        occupancy.with_waiting(waiting)
    }

    /// Opens a subscription. An owner that had one already keeps its place.
    pub(crate) fn subscribe(&mut self, claim: &Claim, now: Moment) -> Subscription {
        let (sender, subscription) = Subscription::channel();
        let waiters = self.waiters.entry(claim.key().clone()).or_default();
        let waiter = waiters.subscribed.entry(*claim.owner_token()).or_insert_with(|| Waiter {
            claim: claim.clone(),
            sender: sender.clone(),
            place: Place::None,
        });
        waiter.sender = sender;
        self.sweep_if_due(now);
        subscription
    }

    pub(crate) fn waiters(&self, key: &str) -> usize {
        self.waiters.get(key).map_or(0, Waiters::count)
    }

    pub(crate) fn expire_now(&mut self, key: &str) {
        self.leases.remove(key);
    }

    pub(crate) fn take_over(&mut self, key: &LockKey, by: OwnerToken, ends: Moment) {
        self.give(key, by, Metadata::default(), ends, 0);
    }

    pub(crate) fn keys(&self) -> usize {
        self.leases.len() + self.undone.len() + self.waiters.len()
    }

    /// Drops entries that have ended. The threshold doubles, so the cost of sweeping is constant
    /// per entry.
    fn sweep_if_due(&mut self, now: Moment) {
        if self.keys() < self.sweep_at.max(SWEEP_FLOOR) {
            return;
        }
        self.leases.retain(|_, lease| now < lease.ends);
        self.undone.retain(|_, until| now < *until);
        self.waiters.retain(|_, waiters| {
            waiters.forget_the_gone();
            !waiters.subscribed.is_empty()
        });
        self.sweep_at = self.keys() * 2;
    }
}

fn micros(moment: Moment) -> u64 {
    u64::try_from(moment.since_start().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(key: usize) -> Claim {
        let key = LockKey::new(format!("key-{key}")).unwrap();
        Claim::new(key, OwnerToken::mint().unwrap(), Ttl::MIN)
    }

    #[test]
    fn g5_entries_that_have_ended_do_not_pile_up() {
        let mut store = Store::default();
        for n in 0..100_000 {
            let now = Moment::from_start(Duration::from_secs(n as u64 * 60));
            let _ = store.attempt(&claim(n), Waiting::No, 0, now);
            let _ = store.release(&claim(n), now);
            drop(store.subscribe(&claim(n), now));
        }
        assert!(store.keys() <= 2 * SWEEP_FLOOR, "{} entries", store.keys());
    }
}
