//! The verbs of the careless lock. Each flaw stands at the line that it spoils.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use lock_core::{
    Attempt, Claim, Error, ErrorKind, FencingToken, Handover, Holder, Lock, Metadata, Moment,
    OwnerFingerprint, Release, Renewal, Result, Signal, Ttl, Watch, WatchKind,
};
use tokio::task::yield_now;

use super::backend::{CarelessLock, Found, Lease, Tables};
use super::flaw::Flaw;

impl CarelessLock {
    fn attempt(&self, early: Option<Found>, minted: Option<u64>) -> Result<Attempt> {
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
            None => Ok(self.grant(tables, found.dead_since, minted)),
            Some(lease) if self.is_mine(tables, &lease) => Ok(self.grant_again(tables, &lease)),
            Some(lease) => self.refuse(tables, &lease),
        }
    }

    fn grant(&self, tables: &mut Tables, dead: Option<Moment>, minted: Option<u64>) -> Attempt {
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
            None => self.mint(tables),
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
        Attempt::Granted { fencing: FencingToken::new(token) }
    }

    fn grant_again(&self, tables: &mut Tables, lease: &Lease) -> Attempt {
        let mut ends = self.ends(self.claim.ttl());
        match self.shared.flaw {
            Some(Flaw::SameOwnerIsRefused) => return Attempt::Held { remaining: None },
            Some(Flaw::SameOwnerIsAnotherGrant) => return self.grant(tables, None, None),
            Some(Flaw::SameOwnerKeepsItsTtl) => ends = lease.ends,
            Some(Flaw::SameOwnerAddsTheTtl) => ends = lease.ends.after(self.claim.ttl().get()),
            Some(Flaw::SameOwnerIsCutShort) => {}
            _ => ends = ends.max(lease.ends),
        }
        self.confirm_keeps_the_window(&mut ends, lease);
        if self.has(Flaw::FloorIsForEveryGrant) {
            let floor = self.claim.fencing_floor().map_or(0, FencingToken::get);
            let last = tables.counters.entry(self.counter()).or_default();
            *last = floor.max(*last);
        }
        tables.leases.insert(self.row(), Lease { ends, ..*lease });
        Attempt::Granted { fencing: self.fencing(tables) }
    }

    fn refuse(&self, tables: &mut Tables, lease: &Lease) -> Result<Attempt> {
        self.queue_up(tables);
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
            Some(Flaw::RemainingIsTheTtl) => remaining = Some(self.claim.ttl().get()),
            Some(Flaw::RemainingIsInSeconds) => {
                remaining = remaining.map(|left| Duration::from_millis(left.as_secs()));
            }
            _ => {}
        }
        Ok(Attempt::Held { remaining })
    }

    fn set_ends(&self, ends: Moment) {
        if let Some(lease) = self.tables().leases.get_mut(&self.row()) {
            lease.ends = ends;
        }
    }

    fn extend(&self, early: Option<Found>, ttl: Ttl) -> Renewal {
        let tables = &mut *self.tables();
        let row = self.row_unless(Flaw::PrefixForgottenByRenew);
        let by_anyone = self.has(Flaw::RenewByAnyone);
        let ignores_expiry = self.has(Flaw::RenewIgnoresExpiry);
        let found = early.unwrap_or_else(|| self.find(tables, &row, ignores_expiry));
        let mine = |lease: &Lease| self.is_mine(tables, lease) || by_anyone;
        let mut ends = self.ends(ttl);
        let Some(lease) = found.lease.filter(mine) else {
            if self.has(Flaw::RenewSetsTheTtlFirst) {
                tables.leases.entry(row).and_modify(|lease| lease.ends = ends);
            } else if self.has(Flaw::RenewBringsBack) && found.lease.is_none() {
                tables.leases.insert(row, Lease { owner: self.owner(), ends });
                return Renewal::Renewed { fencing: self.fencing(tables) };
            }
            return Renewal::Lost;
        };
        match self.shared.flaw {
            Some(Flaw::RenewDoesNothing) => ends = lease.ends,
            Some(Flaw::RenewAdds) => ends = lease.ends.after(ttl.get()),
            Some(Flaw::RenewOnlyLengthens) => ends = ends.max(lease.ends),
            Some(Flaw::RenewKeepsTheFirstTtl) => ends = self.ends(self.claim.ttl()),
            Some(Flaw::RenewMints) => drop(self.mint(tables)),
            _ => {}
        }
        if self.has(Flaw::RenewLooksThenSets) {
            tables.leases.entry(row).and_modify(|lease| lease.ends = ends);
        } else {
            tables.leases.insert(row, Lease { ends, ..lease });
        }
        Renewal::Renewed { fencing: self.fencing(tables) }
    }

    fn let_go(&self, early: Option<Found>) -> Release {
        let tables = &mut *self.tables();
        let row = self.row_unless(Flaw::PrefixForgottenByRelease);
        let ignores_expiry = self.has(Flaw::ReleaseIgnoresExpiry);
        let found = early.unwrap_or_else(|| self.find(tables, &row, ignores_expiry));
        let by_anyone = self.has(Flaw::ReleaseByAnyone);
        let mine = |lease: &Lease| self.is_mine(tables, lease) || by_anyone;
        let is_mine = found.lease.as_ref().is_some_and(mine);
        if !self.has(Flaw::UndoStaysInLine) {
            self.step_out(tables, self.owner());
        }
        let elsewhere = !self.granted_here.load(Ordering::SeqCst);
        if !is_mine || self.has(Flaw::ReleaseNeedsItsHandle) && elsewhere {
            return self.undo(tables, &found);
        }
        if !self.has(Flaw::ReleaseFreesNothing) {
            tables.leases.remove(&row);
        }
        if let Some((like, _)) = row.split_once('%').filter(|_| self.has(Flaw::ReleaseByPattern)) {
            tables.leases.retain(|other, _| !other.starts_with(like));
        }
        if self.has(Flaw::CounterEndsWithTheRelease) {
            tables.counters.remove(&self.counter());
        }
        if !self.has(Flaw::ReleaseForgetsTheQueue) && !tables.leases.contains_key(&row) {
            self.serve(tables, None);
        }
        if !self.has(Flaw::ReleaseIsSilent) && !self.has(Flaw::ReleaseSignalsFirst) {
            self.signal(tables, &row);
        }
        Release::Released
    }

    fn open_watches(&self) -> usize {
        self.tables().watches.values().flatten().filter(|watch| !watch.is_closed()).count()
    }

    fn signal(&self, tables: &mut Tables, row: &str) {
        if let Some(watches) = tables.watches.get_mut(row) {
            watches.retain(|watch| watch.send(Signal::Hint));
        }
    }

    fn undo(&self, tables: &mut Tables, found: &Found) -> Release {
        let (row, owner) = self.tombstone();
        let mut stays = Release::TOMBSTONE;
        match self.shared.flaw {
            Some(Flaw::UndoSaysReleased) => return Release::Released,
            Some(Flaw::UndoForgetsTheCounter) => drop(tables.counters.remove(&self.counter())),
            Some(Flaw::UndoLeavesNoTombstone) => stays = Duration::ZERO,
            Some(Flaw::TombstoneIsShort) => stays = Duration::from_secs(50),
            Some(Flaw::NoTombstoneWhileHeld) if found.lease.is_some() => stays = Duration::ZERO,
            Some(Flaw::NoTombstoneAfterExpiry) if found.dead_since.is_some() => {
                stays = Duration::ZERO;
            }
            Some(Flaw::OneTombstoneAKey) => tables.tombstones.retain(|(of, _), _| *of != row),
            _ => {}
        }
        tables.tombstones.insert((row, owner), self.now().after(stays));
        Release::NotHeld
    }
}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::Unavailable, why)
}

#[async_trait]
impl Lock for CarelessLock {
    fn claim(&self) -> &Claim {
        &self.claim
    }

    async fn try_acquire(&self) -> Result<Attempt> {
        while self.has(Flaw::AcquireWaits) && self.inspect().await?.is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if self.has(Flaw::WatchesUseUpThePool) && self.open_watches() > 50 {
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
        let answer = self.attempt(early, minted)?;
        if let Attempt::Granted { .. } = answer {
            self.granted_here.store(true, Ordering::SeqCst);
            if self.has(Flaw::AcquireMintsLater) && free {
                yield_now().await;
                let number = self.mint(&mut self.tables());
                return Ok(Attempt::Granted { fencing: FencingToken::new(number) });
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

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        let mut early = self.find_early(Flaw::RenewLooksThenWrites).await;
        early = early.or(self.find_early(Flaw::RenewLooksThenSets).await);
        if self.has(Flaw::RenewDeletesAndWrites) {
            let found = self.find(&self.tables(), &self.row(), false);
            let mine = |lease: &Lease| self.is_mine(&self.tables(), lease);
            if found.lease.as_ref().is_some_and(mine) {
                self.tables().leases.remove(&self.row());
                yield_now().await;
                early = Some(found);
            }
        }
        match self.extend(early, ttl) {
            Renewal::Lost if self.has(Flaw::LossIsAnError) => Err(refused("the lock is lost")),
            answer => Ok(answer),
        }
    }

    async fn release(&self) -> Result<Release> {
        let early = self.find_early(Flaw::ReleaseLooksThenDeletes).await;
        if self.has(Flaw::ReleaseSignalsFirst) {
            self.signal(&mut self.tables(), &self.row());
            yield_now().await;
        }
        match self.let_go(early) {
            Release::NotHeld if self.has(Flaw::NotHeldIsAnError) => Err(refused("nothing is held")),
            answer => Ok(answer),
        }
    }

    async fn inspect(&self) -> Result<Option<Holder>> {
        let early = self.find_early(Flaw::InspectReadsTwice).await;
        let tables = &mut *self.tables();
        let row = self.row_unless(Flaw::PrefixForgottenByInspect);
        let ignores_expiry = self.has(Flaw::InspectIgnoresExpiry);
        let found = early.unwrap_or_else(|| self.find(tables, &row, ignores_expiry));
        let Some(lease) = found.lease else { return Ok(None) };
        let note = tables.notes.get(&row).cloned().unwrap_or_default();
        let owner = match self.shared.flaw {
            Some(Flaw::InspectShowsTheAsker) => self.claim.owner().fingerprint(),
            Some(Flaw::InspectHashesTheNote) => {
                OwnerFingerprint::of(&[lease.owner.expose().as_bytes(), note.as_bytes()].concat())
            }
            _ => OwnerFingerprint::of(lease.owner.expose().as_bytes()),
        };
        let holder = Holder::new(owner)
            .with_metadata(note)
            .with_remaining(lease.ends.since(self.now()))
            .with_fencing(self.fencing(tables));
        match self.shared.flaw {
            Some(Flaw::InspectRenews) => {
                let ends = self.ends(self.claim.ttl());
                tables.leases.insert(row, Lease { ends, ..lease });
            }
            Some(Flaw::InspectDeletes) => drop(tables.leases.remove(&row)),
            Some(Flaw::InspectFindsNobody) => return Ok(None),
            _ => {}
        }
        Ok(Some(holder))
    }

    async fn raise(&self, fencing: FencingToken) -> Result<Option<FencingToken>> {
        if fencing > FencingToken::LARGEST && !self.has(Flaw::RaiseIsUnbounded) {
            return Err(Error::new(ErrorKind::Invalid, "no token to raise to"));
        }
        let tables = &mut *self.tables();
        let found = self.find(tables, &self.row(), self.has(Flaw::RaiseIgnoresExpiry));
        let mine = |lease: &Lease| self.is_mine(tables, lease) || self.has(Flaw::RaiseByAnyone);
        let Some(lease) = found.lease.filter(mine) else { return Ok(None) };
        if self.has(Flaw::RaiseRenews) {
            let ends = self.ends(self.claim.ttl());
            tables.leases.insert(self.row(), Lease { ends, ..lease });
        }
        if self.has(Flaw::RaiseIsForgotten) {
            return Ok(Some(fencing));
        }
        let last = tables.counters.entry(self.counter()).or_default();
        let lowers = self.has(Flaw::RaiseLowers);
        *last = if lowers { fencing.get() } else { fencing.get().max(*last) };
        Ok(FencingToken::new(*last))
    }

    async fn hand_over(&self, next: &Claim) -> Result<Option<Handover>> {
        Ok(Some(self.pass_on(next).await))
    }

    async fn watch(&self, kind: WatchKind) -> Result<Option<Watch>> {
        let (sender, watch) = Watch::channel();
        if kind == WatchKind::Queue {
            if !self.has(Flaw::NoQueueThoughDeclared) {
                self.stand_by(&mut self.tables(), sender);
                return Ok(Some(watch));
            }
            return Ok(None);
        }
        let (row, shared) = (self.row(), Arc::clone(&self.shared));
        let subscribe = move || {
            let mut tables = shared.tables.lock().unwrap();
            tables.watches.entry(row).or_default().push(sender);
        };
        match self.shared.flaw {
            Some(Flaw::NoWatchThoughDeclared) => return Ok(None),
            Some(Flaw::WatchEndsAtOnce) => {}
            Some(Flaw::WatchComesIntoForceLater) => {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    subscribe();
                });
            }
            _ => subscribe(),
        }
        Ok(Some(watch))
    }
}

impl fmt::Debug for CarelessLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CarelessLock");
        if self.has(Flaw::DebugShowsTheToken) {
            shown.field("owner", &self.claim.owner().expose());
        }
        shown.field("claim", &self.claim).finish_non_exhaustive()
    }
}
