//! The model of a lock store: a pure state machine, the reference for random schedules.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use lock_core::FencingToken;

/// The shortest lifetime of a tombstone that the `Lock` trait allows.
const TOMBSTONE: Duration = Duration::from_secs(30);

/// One key of a store, as the laws describe it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Model {
    now: Duration,
    holder: Option<Held>,
    largest: Option<FencingToken>,
    /// When an owner released without holding.
    undone: HashMap<u64, Duration>,
    /// Owners that have released or lost the key. A store that remembers them may refuse them.
    done: HashSet<u64>,
}

#[derive(Clone, Debug)]
struct Held {
    owner: u64,
    ends: Duration,
    fencing: Option<FencingToken>,
}

/// The answer to an attempt that the laws allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    /// A grant with a token larger than this one.
    NewGrant {
        above: Option<FencingToken>,
    },
    /// The same grant again.
    SameGrant {
        fencing: Option<FencingToken>,
    },
    /// Held, for this long.
    Held {
        remaining: Duration,
    },
    Undone,
}

impl Model {
    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    pub(crate) fn expire(&mut self) {
        self.holder = None;
    }

    fn held(&self) -> Option<&Held> {
        self.holder.as_ref().filter(|held| self.now < held.ends)
    }

    fn held_by(&self, owner: u64) -> Option<&Held> {
        self.held().filter(|held| held.owner == owner)
    }

    /// Returns whether a store may refuse this owner, which has released or lost the key before.
    pub(crate) fn may_be_undone(&self, owner: u64) -> bool {
        self.done.contains(&owner)
    }

    pub(crate) fn expect_attempt(&self, owner: u64) -> Expected {
        let undone = self.undone.get(&owner);
        if undone.is_some_and(|since| self.now < *since + TOMBSTONE) {
            return Expected::Undone;
        }
        match self.held() {
            Some(held) if held.owner == owner => Expected::SameGrant { fencing: held.fencing },
            Some(held) => Expected::Held { remaining: held.ends - self.now },
            None => Expected::NewGrant { above: self.largest },
        }
    }

    /// Records a grant of the store.
    pub(crate) fn granted(&mut self, owner: u64, ttl: Duration, fencing: Option<FencingToken>) {
        self.undone.remove(&owner);
        self.largest = self.largest.max(fencing);
        let left = self.held_by(owner).map(|held| held.ends); // a repeated grant cuts nothing
        let ends = left.unwrap_or_default().max(self.now + ttl);
        self.holder = Some(Held { owner, ends, fencing });
    }

    /// Renews, and returns the fencing token if the owner holds the key.
    pub(crate) fn renew(&mut self, owner: u64, ttl: Duration) -> Option<Option<FencingToken>> {
        if self.held_by(owner).is_none() {
            self.done.insert(owner);
            return None;
        }
        let held = self.holder.as_mut()?;
        held.ends = self.now + ttl;
        Some(held.fencing)
    }

    /// Releases, and returns whether the owner held the key.
    pub(crate) fn release(&mut self, owner: u64) -> bool {
        let held = self.held_by(owner).is_some();
        self.done.insert(owner);
        if held {
            self.holder = None;
        } else {
            self.undone.insert(owner, self.now);
        }
        held
    }

    /// Returns who holds the key and for how long.
    pub(crate) fn inspect(&self) -> Option<(u64, Duration)> {
        self.held().map(|held| (held.owner, held.ends - self.now))
    }
}
