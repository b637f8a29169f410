//! The verbs of the careless lock. Each flaw stands at the line that it spoils.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use lock_core::backend::{
    Attempt, Claim, FencingFloor, HandOver, Hints, Queue, Release, Renewal, Signal, Subscription,
    Transfer, Ttl,
};
use lock_core::clock::Moment;
use lock_core::{Error, ErrorKind, FencingToken, Holder, Lock, Metadata, OwnerFingerprint, Result};
use tokio::task::yield_now;

use super::backend::{CarelessLock, Found, Lease, Tables};
use super::flaw::Flaw;
use super::queue::Line;

/// What an attempt asks for besides the key.
#[derive(Clone, Copy, Debug)]
struct Asked {
    waits: Waits,
    floor: Option<FencingToken>,
}

#[derive(Clone, Copy, Debug)]
enum Waits {
    Not,
    Listens,
    Queues,
}

impl CarelessLock {
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

    fn extend(&self, early: Option<Found>, ttl: Ttl) -> Renewal {
        let tables = &mut *self.tables();
        let row = self.row_unless(Flaw::PrefixForgottenByRenew);
        let by_anyone = self.has(Flaw::RenewByAnyone);
        let ignores_expiry = self.has(Flaw::RenewIgnoresExpiry);
        let found = early.unwrap_or_else(|| self.find(tables, &row, ignores_expiry));
        let elsewhere =
            self.has(Flaw::RenewNeedsItsHandle) && !self.granted_here.load(Ordering::SeqCst);
        let mine = |lease: &Lease| (self.is_mine(tables, lease) || by_anyone) && !elsewhere;
        let mut ends = self.ends(ttl);
        let Some(lease) = found.lease.filter(mine) else {
            if self.has(Flaw::RenewSetsTheTtlFirst) {
                tables.leases.entry(row).and_modify(|lease| lease.ends = ends);
            } else if self.has(Flaw::RenewBringsBack) && found.lease.is_none() {
                tables.leases.insert(row, Lease { owner: self.owner(), ends });
                return Renewal::renewed(self.fencing(tables));
            }
            return Renewal::Lost;
        };
        match self.shared.flaw {
            Some(Flaw::RenewDoesNothing) => ends = lease.ends,
            Some(Flaw::RenewAdds) => ends = lease.ends.after(ttl.as_duration()),
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
        Renewal::renewed(self.fencing(tables))
    }

    fn let_go(&self, early: Option<Found>) -> Release {
        let tables = &mut *self.tables();
        let row = self.row_unless(Flaw::PrefixForgottenByRelease);
        let ignores_expiry = self.has(Flaw::ReleaseIgnoresExpiry);
        let found = early.unwrap_or_else(|| self.find(tables, &row, ignores_expiry));
        let by_anyone = self.has(Flaw::ReleaseByAnyone);
        let mine = |lease: &Lease| self.is_mine(tables, lease) || by_anyone;
        let is_mine = found.lease.as_ref().is_some_and(mine);
        let placed_elsewhere = !self.placed_here.load(Ordering::SeqCst);
        if !(self.has(Flaw::UndoStaysInLine)
            || self.has(Flaw::PlaceNeedsItsHandle) && placed_elsewhere)
        {
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

    fn open_subscriptions(&self) -> usize {
        self.tables().lines.values().map(Line::listening).sum()
    }

    fn signal(&self, tables: &mut Tables, row: &str) {
        for listener in tables.listeners.remove(row).into_iter().flatten() {
            listener.send(Signal::Hint);
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

impl CarelessLock {
    async fn ask(&self, waits: Waits, floor: Option<FencingToken>) -> Result<Attempt> {
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

    /// Who holds the key.
    pub(crate) async fn look(&self) -> Option<Holder> {
        let early = self.find_early(Flaw::InspectReadsTwice).await;
        let tables = &mut *self.tables();
        let row = self.row_unless(Flaw::PrefixForgottenByInspect);
        let ignores_expiry = self.has(Flaw::InspectIgnoresExpiry);
        let found = early.unwrap_or_else(|| self.find(tables, &row, ignores_expiry));
        let lease = found.lease?;
        let note = tables.notes.get(&row).cloned().unwrap_or_default();
        let owner = match self.shared.flaw {
            Some(Flaw::InspectShowsTheAsker) => self.claim.owner_token().fingerprint(),
            Some(Flaw::InspectHashesTheNote) => OwnerFingerprint::from_bytes(
                &[lease.owner.expose().as_bytes(), note.as_bytes()].concat(),
            ),
            _ => OwnerFingerprint::from_bytes(lease.owner.expose().as_bytes()),
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
            Some(Flaw::InspectFindsNobody) => return None,
            _ => {}
        }
        Some(holder)
    }
}

#[async_trait]
impl Lock for CarelessLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        self.ask(Waits::Not, None).await
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

    fn as_hints(&self) -> Option<&dyn Hints> {
        (!self.has(Flaw::HintsAreForgotten)).then_some(self as _)
    }

    fn as_queue(&self) -> Option<&dyn Queue> {
        let gone = self.has(Flaw::QueueIsForgotten)
            || self.has(Flaw::QueueComesAndGoes) && self.claim.ttl().as_millis() < 30_000;
        (!gone).then_some(self as _)
    }

    fn as_hand_over(&self) -> Option<&dyn HandOver> {
        (!self.has(Flaw::HandOverIsForgotten)).then_some(self as _)
    }

    fn as_fencing_floor(&self) -> Option<&dyn FencingFloor> {
        (!self.has(Flaw::FloorIsForgotten)).then_some(self as _)
    }
}

#[async_trait]
impl Hints for CarelessLock {
    async fn subscribe(&self) -> Result<Subscription> {
        let (sender, subscription) = Subscription::channel();
        if self.has(Flaw::SubscriptionEndsAtOnce) {
            return Ok(subscription);
        }
        self.stand_by(&mut self.tables(), sender);
        if self.has(Flaw::SubscribingTakesAPlace) {
            self.queue_up(&mut self.tables());
        }
        Ok(subscription)
    }

    async fn try_acquire_or_listen(&self) -> Result<Attempt> {
        if self.has(Flaw::ListeningComesIntoForceLater) {
            let answer = self.ask(Waits::Not, None).await;
            if let Ok(Attempt::Held(_)) = answer {
                let (key, shared) = ((self.line_of(), self.row()), Arc::clone(&self.shared));
                let owner = self.owner();
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    let tables = &mut *shared.tables.lock().unwrap();
                    let line = tables.lines.get(&key.0);
                    if let Some(sender) = line.and_then(|line| line.sender_of(&owner)) {
                        tables.listeners.entry(key.1).or_default().push(sender);
                    }
                });
            }
            return answer;
        }
        self.ask(Waits::Listens, None).await
    }
}

#[async_trait]
impl Queue for CarelessLock {
    async fn try_acquire_or_enqueue(&self) -> Result<Attempt> {
        self.ask(Waits::Queues, None).await
    }
}

#[async_trait]
impl HandOver for CarelessLock {
    async fn hand_over(&self, next: &Claim) -> Result<Transfer> {
        Ok(self.pass_on(next).await)
    }
}

#[async_trait]
impl FencingFloor for CarelessLock {
    async fn try_acquire_above(&self, floor: FencingToken) -> Result<Attempt> {
        self.ask(Waits::Not, Some(floor)).await
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
        *last = if lowers { fencing.as_u64() } else { fencing.as_u64().max(*last) };
        Ok(FencingToken::new(*last))
    }
}

impl fmt::Debug for CarelessLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CarelessLock");
        if self.has(Flaw::DebugShowsTheToken) {
            shown.field("owner", &self.claim.owner_token().expose());
        }
        shown.field("claim", &self.claim).finish_non_exhaustive()
    }
}
