//! Releasing: giving the key up, signalling it, and undoing what was not held.

use std::sync::atomic::Ordering;
use std::time::Duration;

use lock_core::backend::{Release, Signal};

use super::backend::{CarelessLock, Found, Lease, Tables};
use super::flaw::Flaw;

impl CarelessLock {
    pub(crate) fn let_go(&self, early: Option<Found>) -> Release {
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

    pub(crate) fn signal(&self, tables: &mut Tables, row: &str) {
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
