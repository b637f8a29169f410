//! The queue of the careless store, and passing a key on.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use lock_core::backend::{Claim, Grant, Release, Signal, SignalSender, Subscription, Transfer};
use lock_core::{Metadata, OwnerToken};
use tokio::task::yield_now;

use super::backend::{CarelessLock, Lease, Tables};
use super::flaw::Flaw;

/// Who waits for one key.
#[derive(Debug, Default)]
pub(crate) struct Line {
    waiters: HashMap<OwnerToken, (Claim, SignalSender)>,
    queue: Vec<OwnerToken>,
    /// Only a flaw looks at it.
    arrivals: usize,
}

impl Line {
    /// How many listen.
    pub(crate) fn listening(&self) -> usize {
        self.waiters.values().filter(|(_, sender)| !sender.is_closed()).count()
    }

    pub(crate) fn waiting(&self, flaw: Option<Flaw>) -> usize {
        match flaw {
            Some(Flaw::InspectCountsNobody) => 0,
            Some(Flaw::InspectCountsTheLeft) => self.arrivals,
            _ => self.queue.len(),
        }
    }

    pub(crate) fn sender_of(&self, owner: &OwnerToken) -> Option<SignalSender> {
        self.waiters.get(owner).map(|(_, sender)| sender.clone())
    }
}

impl CarelessLock {
    pub(crate) fn line_of(&self) -> String {
        if self.has(Flaw::OneQueueForAllKeys) { String::new() } else { self.row() }
    }

    pub(crate) fn stand_by(&self, tables: &mut Tables, sender: SignalSender) {
        let line = tables.lines.entry(self.line_of()).or_default();
        line.waiters.insert(self.owner(), (self.claim.clone(), sender));
    }

    pub(crate) fn queue_up(&self, tables: &mut Tables) {
        let Some(line) = tables.lines.get_mut(&self.line_of()) else { return };
        let owner = self.owner();
        let waits = line.waiters.get(&owner).is_some_and(|(_, sender)| !sender.is_closed());
        if self.has(Flaw::AskingAgainLosesThePlace) {
            line.queue.retain(|queued| *queued != owner);
        }
        if (waits || self.has(Flaw::AskingTakesAPlace)) && !line.queue.contains(&owner) {
            line.queue.push(owner);
            line.arrivals += 1;
            self.placed_here.store(true, Ordering::SeqCst);
        }
        if self.has(Flaw::AskingTakesAPlace) && !waits {
            let (sender, subscription) = Subscription::channel();
            std::mem::forget(subscription);
            line.waiters.insert(owner, (self.claim.clone(), sender));
        }
    }

    /// Adds the owner to the listeners that receive a hint at the next release.
    pub(crate) fn listen(&self, tables: &mut Tables) {
        let Some(line) = tables.lines.get(&self.line_of()) else { return };
        if let Some((_, sender)) = line.waiters.get(&self.owner()) {
            let sender = sender.clone();
            tables.listeners.entry(self.row()).or_default().push(sender);
        }
    }

    pub(crate) fn step_out(&self, tables: &mut Tables, owner: OwnerToken) {
        if let Some(line) = tables.lines.get_mut(&self.line_of()) {
            line.queue.retain(|queued| *queued != owner);
            line.waiters.remove(&owner);
        }
    }

    /// Gives a free key to the head of its queue, unless that is who asks.
    pub(crate) fn serve(&self, tables: &mut Tables, asking: Option<OwnerToken>) {
        let line = tables.lines.entry(self.line_of()).or_default();
        line.queue
            .retain(|owner| line.waiters.get(owner).is_some_and(|(_, sender)| !sender.is_closed()));
        if asking.is_some() && line.queue.first().copied() == asking {
            return;
        }
        let last = line.queue.len().saturating_sub(1);
        let head = if self.has(Flaw::QueueIsAStack) { last } else { 0 };
        let Some(owner) = line.queue.get(head).copied() else { return };
        let (claim, sender) = line.waiters[&owner].clone();
        if !self.has(Flaw::TheDeadStayAtTheHead) {
            line.queue.remove(head);
        }
        let window = match self.shared.flaw {
            Some(Flaw::QueueGrantsForTheWholeTtl) => claim.ttl().as_duration(),
            Some(Flaw::QueueGrantsForTheWholeWindow) => Signal::CONFIRM_WINDOW,
            _ => Signal::CONFIRM_WINDOW.min(claim.ttl().as_duration()),
        };
        if !self.has(Flaw::QueueMintsNothing) {
            self.mint(tables);
        }
        let lease = Lease { owner, ends: self.now().after(window) };
        tables.leases.insert(self.row(), lease);
        tables.notes.insert(self.row(), claim.metadata().clone());
        if !self.has(Flaw::QueueTellsNobody) {
            sender.send(Signal::Granted);
        }
    }

    pub(crate) async fn pass_on(&self, next: &Claim) -> Transfer {
        if self.has(Flaw::HandOverInTwoSteps) {
            let mine = self.find(&self.tables(), &self.row(), false).lease;
            if mine.is_some_and(|lease| self.is_mine(&self.tables(), &lease)) {
                self.tables().leases.remove(&self.row());
                yield_now().await;
                return self.give(&mut self.tables(), next);
            }
        }
        let tables = &mut *self.tables();
        let ignores_expiry = self.has(Flaw::HandOverIgnoresExpiry);
        let found = self.find(tables, &self.row(), ignores_expiry);
        let repeated = found.lease.filter(|lease| lease.owner == *next.owner_token());
        if let Some(lease) = repeated.filter(|_| !self.has(Flaw::HandOverIsNotRepeated)) {
            let mut ends = self.ends(next.ttl());
            if !self.has(Flaw::HandOverAgainCutsShort) {
                ends = ends.max(lease.ends);
            }
            tables.leases.insert(self.row(), Lease { ends, ..lease });
            return self.passed(tables);
        }
        let mine = |lease: &Lease| self.is_mine(tables, lease) || self.has(Flaw::HandOverByAnyone);
        if !found.lease.as_ref().is_some_and(mine) {
            if !self.has(Flaw::HandOverUndoesNobody) {
                let until = self.now().after(Release::TOMBSTONE);
                tables.tombstones.insert(self.tombstone(), until);
            }
            return Transfer::NotHeld;
        }
        let undone = tables.tombstones.contains_key(&(self.tombstone().0, *next.owner_token()));
        if undone && !self.has(Flaw::HandOverToTheUndone) {
            tables.leases.remove(&self.row());
            self.serve(tables, None);
            return Transfer::Refused;
        }
        self.give(tables, next)
    }

    fn give(&self, tables: &mut Tables, next: &Claim) -> Transfer {
        let mut ends = self.ends(next.ttl());
        if let Some(lease) = tables.leases.get(&self.row())
            && self.has(Flaw::HandOverKeepsTheEnd)
        {
            ends = lease.ends;
        }
        if !self.has(Flaw::HandOverMintsNothing) {
            self.mint(tables);
        }
        tables.leases.insert(self.row(), Lease { owner: *next.owner_token(), ends });
        let note = if self.has(Flaw::HandOverForgetsTheNote) {
            Metadata::default()
        } else {
            next.metadata().clone()
        };
        tables.notes.insert(self.row(), note);
        if !self.has(Flaw::HandOverKeepsThePlace) {
            self.step_out(tables, *next.owner_token());
        }
        self.passed(tables)
    }

    fn passed(&self, tables: &Tables) -> Transfer {
        let line = tables.lines.get(&self.line_of());
        let others = line.is_some_and(|line| !line.queue.is_empty());
        let grant = Grant::new(self.fencing(tables));
        Transfer::Granted { grant, others: others && !self.has(Flaw::HandOverNamesNoOthers) }
    }

    /// A grant of the queue that its waiter has come for.
    pub(crate) fn confirm_keeps_the_window(
        &self,
        ends: &mut lock_core::clock::Moment,
        lease: &Lease,
    ) {
        if self.has(Flaw::ConfirmingKeepsTheWindow)
            && lease.ends.since(self.now()) <= Signal::CONFIRM_WINDOW
        {
            *ends = lease.ends;
        }
    }
}
