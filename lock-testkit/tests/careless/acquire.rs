//! Acquiring: what an attempt finds, and what it grants or refuses.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lock_core::backend::Attempt;
use lock_core::clock::Moment;
use lock_core::{FencingToken, Metadata, Result};
use tokio::task::yield_now;

use super::backend::{CarelessLock, Found, Lease, Tables, refused};
use super::flaw::Flaw;
use super::queue::Line;

/// What an attempt asks for besides the key.
#[derive(Clone, Copy, Debug)]
struct Asked {
    waits: Waits,
    floor: Option<FencingToken>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Waits {
    Not,
    Listens,
    Queues,
}

impl CarelessLock {
    pub(crate) async fn ask(&self, waits: Waits, floor: Option<FencingToken>) -> Result<Attempt> {
        let asked = Asked { waits, floor };
        while self.has(Flaw::AcquireWaits)
            && self.find(&self.tables(), &self.row(), false).lease.is_some()
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if self.has(Flaw::SubscriptionsUseUpThePool) && self.open_subscriptions() > 50 {
            return Err(refused("every connection is in use"));
        }
        let mut minted = None;
        if self.has(Flaw::AcquireMintsFirst) {
            let number = self.mint(&mut self.tables());
            minted = Some(number);
            for _ in 0..number % 7 {
                yield_now().await;
            }
        }
        let mut early = self.find_early(Flaw::AcquireLooksFirst).await;
        for part in [Flaw::AcquireLooksForTombstonesFirst, Flaw::AcquireLooksForTheDeadFirst] {
            early = early.or(self.find_early(part).await);
        }
        let free = self.find(&self.tables(), &self.row(), false).lease.is_none();
        let answer = self.attempt(early, minted, asked)?;
        if let Attempt::Granted(_) = answer {
            self.granted_here.store(true, Ordering::SeqCst);
            if self.has(Flaw::AcquireMintsLater) && free {
                yield_now().await;
                let number = self.mint(&mut self.tables());
                return Ok(Attempt::granted(FencingToken::new(number)));
            }
            if self.has(Flaw::AcquireSetsTheTtlLater) {
                let ends = self.ends(self.claim.ttl());
                self.set_ends(Moment::NEVER);
                yield_now().await;
                self.set_ends(ends);
            }
        }
        Ok(answer)
    }

    fn attempt(&self, early: Option<Found>, minted: Option<u64>, asked: Asked) -> Result<Attempt> {
        let tables = &mut *self.tables();
        let mut found = self.find(tables, &self.row(), self.has(Flaw::AcquireIgnoresExpiry));
        // Only its own old lease: another's that has ended is in nobody's way.
        found.lease = found.lease.filter(|old| self.now() < old.ends || self.is_mine(tables, old));
        let looked_early = early.is_some();
        match early {
            Some(early) if self.has(Flaw::AcquireLooksForTombstonesFirst) => {
                found.undone = early.undone;
            }
            Some(early) if self.has(Flaw::AcquireLooksForTheDeadFirst) => {
                found.lease = found.lease.filter(|_| early.dead_since.is_none());
            }
            Some(early) => found = early,
            None => {}
        }
        if found.undone {
            if self.has(Flaw::TombstoneOfOneUse) {
                tables.tombstones.remove(&self.tombstone());
            }
            return Ok(Attempt::Undone);
        }
        if found.lease.is_none() && !looked_early && !self.has(Flaw::ExpiryForgetsTheQueue) {
            self.serve(tables, Some(self.owner()));
            let served = self.find(tables, &self.row(), false).lease;
            found.lease = served.filter(|lease| lease.owner != self.owner());
        }
        match found.lease {
            None => Ok(self.grant(tables, found.dead_since, minted, asked.floor)),
            Some(lease) if self.is_mine(tables, &lease) => {
                Ok(self.grant_again(tables, &lease, asked.floor))
            }
            Some(lease) => self.refuse(tables, &lease, asked.waits),
        }
    }

    fn grant(
        &self,
        tables: &mut Tables,
        dead: Option<Moment>,
        minted: Option<u64>,
        floor: Option<FencingToken>,
    ) -> Attempt {
        self.step_out(tables, self.owner());
        let idle = dead.map_or(Duration::ZERO, |since| self.now().since(since));
        if self.has(Flaw::CounterEndsWithTheLease) && dead.is_some()
            || self.has(Flaw::CounterForgottenWhenIdle) && idle > Duration::from_secs(3600)
        {
            tables.counters.remove(&self.counter());
        }
        let token = match minted {
            Some(early) => early,
            None if self.has(Flaw::AcquireMintsLater) => 0,
            None => self.mint_above(tables, floor),
        };
        let lease = Lease { owner: self.owner(), ends: self.ends(self.claim.ttl()) };
        if self.has(Flaw::CounterBesideTheKey) {
            tables.leases.insert(format!("{}:fence", self.row()), lease);
        }
        tables.leases.insert(self.row(), lease);
        let note = self.claim.metadata();
        let note = match self.shared.flaw {
            Some(Flaw::NoteDropped) => Metadata::default(),
            Some(Flaw::NoteCut) => {
                Metadata::from_stored(&note.as_bytes()[..note.as_bytes().len().min(512)])
            }
            Some(Flaw::NoteIsText) => {
                Metadata::from_stored(String::from_utf8_lossy(note.as_bytes()).as_bytes())
            }
            _ => note.clone(),
        };
        if !(self.has(Flaw::NoteLeftBehind) && note.is_empty()) {
            tables.notes.insert(self.row(), note);
        }
        Attempt::granted(FencingToken::new(token))
    }

    fn grant_again(
        &self,
        tables: &mut Tables,
        lease: &Lease,
        floor: Option<FencingToken>,
    ) -> Attempt {
        let mut ends = self.ends(self.claim.ttl());
        match self.shared.flaw {
            Some(Flaw::SameOwnerIsRefused) => return Attempt::held(None),
            Some(Flaw::SameOwnerIsAnotherGrant) => return self.grant(tables, None, None, floor),
            Some(Flaw::SameOwnerKeepsItsTtl) => ends = lease.ends,
            Some(Flaw::SameOwnerAddsTheTtl) => {
                ends = lease.ends.after(self.claim.ttl().as_duration());
            }
            Some(Flaw::SameOwnerIsCutShort) => {}
            _ => ends = ends.max(lease.ends),
        }
        self.confirm_keeps_the_window(&mut ends, lease);
        if self.has(Flaw::FloorIsForEveryGrant) {
            let floor = floor.map_or(0, FencingToken::as_u64);
            let last = tables.counters.entry(self.counter()).or_default();
            *last = floor.max(*last);
        }
        tables.leases.insert(self.row(), Lease { ends, ..*lease });
        Attempt::granted(self.fencing(tables))
    }

    fn refuse(&self, tables: &mut Tables, lease: &Lease, waits: Waits) -> Result<Attempt> {
        match waits {
            Waits::Not if self.has(Flaw::AskingTakesAPlace) => self.queue_up(tables),
            Waits::Not => {}
            Waits::Listens if self.has(Flaw::ListeningIsForgotten) => {}
            Waits::Listens => self.listen(tables),
            Waits::Queues => self.queue_up(tables),
        }
        let row = self.row();
        let mut remaining = Some(lease.ends.since(self.now()));
        match self.shared.flaw {
            Some(Flaw::RefusalIsAnError) => return Err(refused("the key is held")),
            Some(Flaw::RefusalMints) => drop(self.mint(tables)),
            Some(Flaw::RefusalWritesTheNote) => {
                tables.notes.insert(row, self.claim.metadata().clone());
            }
            Some(Flaw::RefusalSetsTheTtl) => {
                tables.leases.get_mut(&row).unwrap().ends = self.ends(self.claim.ttl());
            }
            Some(Flaw::RemainingIsTheTtl) => remaining = Some(self.claim.ttl().as_duration()),
            Some(Flaw::RemainingIsInSeconds) => {
                remaining = remaining.map(|left| Duration::from_millis(left.as_secs()));
            }
            _ => {}
        }
        Ok(Attempt::held(remaining))
    }

    fn set_ends(&self, ends: Moment) {
        if let Some(lease) = self.tables().leases.get_mut(&self.row()) {
            lease.ends = ends;
        }
    }

    fn open_subscriptions(&self) -> usize {
        self.tables().lines.values().map(Line::listening).sum()
    }
}
