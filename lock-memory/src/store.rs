use std::collections::HashMap;
use std::time::Duration;

use lock_core::{
    Attempt, Claim, FencingToken, Holder, LockKey, Metadata, Moment, OwnerToken, Release, Renewal,
    Signal, Ttl, Watch, WatchSender,
};

/// How long an owner that released without holding is refused (law U1).
const TOMBSTONE: Duration = Duration::from_secs(60);

/// Below this many entries nothing is swept: the sweep would cost more than it frees.
const SWEEP_FLOOR: usize = 1024;

/// The laws of a lock store, as plain code without I/O or time of its own.
#[derive(Debug, Default)]
pub(crate) struct Store {
    leases: HashMap<LockKey, Lease>,
    /// Owners that may not acquire, and until when.
    undone: HashMap<(LockKey, OwnerToken), Moment>,
    waiters: HashMap<LockKey, Vec<WatchSender>>,
    /// The last fencing token: one counter for all keys survives the removal of idle ones.
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

impl Store {
    /// The lease on a key that has not ended yet.
    fn live(&mut self, key: &LockKey, now: Moment) -> Option<&mut Lease> {
        self.leases.get_mut(key).filter(|lease| now < lease.ends)
    }

    fn live_of(&mut self, claim: &Claim, now: Moment) -> Option<&mut Lease> {
        self.live(claim.key(), now).filter(|lease| lease.owner == *claim.owner())
    }

    pub(crate) fn try_acquire(&mut self, claim: &Claim, now: Moment) -> Attempt {
        let identity = (claim.key().clone(), *claim.owner());
        if self.undone.get(&identity).is_some_and(|until| now < *until) {
            return Attempt::Undone;
        }
        let ends = now.after(claim.ttl().get());
        if let Some(lease) = self.live(claim.key(), now) {
            if lease.owner != *claim.owner() {
                return Attempt::Held { remaining: Some(lease.ends.since(now)) };
            }
            lease.ends = ends;
            return Attempt::Granted { fencing: lease.fencing };
        }
        let fencing = self.grant(claim.key(), *claim.owner(), claim.metadata().clone(), ends);
        self.sweep_if_due(now);
        Attempt::Granted { fencing }
    }

    fn grant(
        &mut self,
        key: &LockKey,
        owner: OwnerToken,
        metadata: Metadata,
        ends: Moment,
    ) -> Option<FencingToken> {
        self.last_fencing += 1;
        let fencing = FencingToken::new(self.last_fencing);
        self.leases.insert(key.clone(), Lease { owner, metadata, fencing, ends });
        fencing
    }

    pub(crate) fn renew(&mut self, claim: &Claim, ttl: Ttl, now: Moment) -> Renewal {
        match self.live_of(claim, now) {
            Some(lease) => {
                lease.ends = now.after(ttl.get());
                Renewal::Renewed { fencing: lease.fencing }
            }
            None => Renewal::Lost,
        }
    }

    pub(crate) fn release(&mut self, claim: &Claim, now: Moment) -> Release {
        if self.live_of(claim, now).is_none() {
            self.undone.insert((claim.key().clone(), *claim.owner()), now.after(TOMBSTONE));
            self.sweep_if_due(now);
            return Release::NotHeld;
        }
        self.leases.remove(claim.key());
        if let Some(waiters) = self.waiters.get_mut(claim.key()) {
            waiters.retain(|waiter| waiter.send(Signal::Hint));
        }
        Release::Released
    }

    pub(crate) fn inspect(&mut self, key: &LockKey, now: Moment) -> Option<Holder> {
        let lease = self.live(key, now)?;
        Some(
            Holder::new(lease.owner.fingerprint())
                .with_metadata(lease.metadata.clone())
                .with_remaining(lease.ends.since(now))
                .with_fencing(lease.fencing),
        )
    }

    pub(crate) fn watch(&mut self, key: &LockKey, now: Moment) -> Watch {
        let (sender, watch) = Watch::channel();
        let waiters = self.waiters.entry(key.clone()).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(sender);
        self.sweep_if_due(now);
        watch
    }

    pub(crate) fn waiters(&self, key: &LockKey) -> usize {
        let waiters = self.waiters.get(key).into_iter().flatten();
        waiters.filter(|waiter| !waiter.is_closed()).count()
    }

    pub(crate) fn expire_now(&mut self, key: &LockKey) {
        self.leases.remove(key);
    }

    pub(crate) fn take_over(&mut self, key: &LockKey, by: OwnerToken, ends: Moment) {
        self.grant(key, by, Metadata::default(), ends);
    }

    pub(crate) fn keys(&self) -> usize {
        self.leases.len() + self.undone.len() + self.waiters.len()
    }

    /// Drops what has ended. Doubling the threshold makes the cost of a sweep a constant for each
    /// entry that was added since the last one.
    fn sweep_if_due(&mut self, now: Moment) {
        if self.keys() < self.sweep_at.max(SWEEP_FLOOR) {
            return;
        }
        self.leases.retain(|_, lease| now < lease.ends);
        self.undone.retain(|_, until| now < *until);
        self.waiters.retain(|_, waiters| {
            waiters.retain(|waiter| !waiter.is_closed());
            !waiters.is_empty()
        });
        self.sweep_at = self.keys() * 2;
    }
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
            store.try_acquire(&claim(n), now);
            store.release(&claim(n), now);
            drop(store.watch(claim(n).key(), now));
        }
        assert!(store.keys() <= 2 * SWEEP_FLOOR, "{} entries", store.keys());
    }
}
