//! The verbs of the careless lock, as the traits declare them. Here and in the files of the verbs,
//! each flaw stands at the line that it spoils.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lock_core::backend::{
    Attempt, Claim, FencingFloor, HandOver, Hints, Queue, Release, Renewal, Subscription, Transfer,
    Ttl,
};
use lock_core::{Error, ErrorKind, FencingToken, Lock, Result};
use tokio::task::yield_now;

use super::acquire::Waits;
use super::backend::{CarelessLock, Lease, refused};
use super::flaw::Flaw;

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
        if fencing > FencingToken::MAX_RAISE && !self.has(Flaw::RaiseIsUnbounded) {
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
