//! The verbs of one claim to a quorum.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use lock_core::backend::{
    Attempt, Claim, FencingFloor, HandOver, Hints, Queue, Release, Renewal, Ttl,
};
use lock_core::{Error, ErrorKind, FencingToken, Lock, Result};

use crate::campaign::{Motion, Outcome, Reach};
use crate::shared::Shared;
use crate::voters::{Hearing, Voters};

/// The longest pauses after split votes in a row; the last one is reported as contention. The
/// pauses are random, so that clients which have split the nodes among them come back one after the
/// other.
const SPLITS: [Duration; 8] = [
    Duration::from_millis(2),
    Duration::from_millis(4),
    Duration::from_millis(8),
    Duration::from_millis(16),
    Duration::from_millis(32),
    Duration::from_millis(32),
    Duration::from_millis(32),
    Duration::ZERO,
];

/// One claim to a majority of the nodes.
pub(crate) struct QuorumLock {
    pub(crate) voters: Arc<Voters>,
    /// One verb at a time: a campaign knows one motion.
    turn: tokio::sync::Mutex<()>,
}

impl QuorumLock {
    pub(crate) fn new(shared: Arc<Shared>, claim: Claim) -> Self {
        Self { voters: Voters::new(shared, claim), turn: tokio::sync::Mutex::new(()) }
    }

    async fn put(&self, motion: Motion) -> Result<Outcome<Error>> {
        let _turn = self.turn.lock().await;
        let voters = &self.voters;
        if matches!(motion, Motion::Acquire { .. }) {
            voters.unbarred().await;
        }
        let asks = voters.campaign().put(motion, &voters.shared.reach());
        let answers = asks.into_iter().map(|ask| voters.ask(ask)).collect();
        let mut hearing = Hearing { voters, answers };
        loop {
            // An answer that completes the motion may come to a task behind an earlier one, such as
            // the second release of a node whose grant came too late for that.
            let mut heard_behind = pin!(voters.heard_behind());
            heard_behind.as_mut().enable();
            let awaits_answers = !hearing.answers.is_empty() || voters.hears_behind();
            if let Some(outcome) = voters.campaign().outcome() {
                return Ok(outcome);
            }
            if !awaits_answers {
                let message = "the nodes of the quorum were asked and none is left to answer";
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
            tokio::select! {
                _ = voters.hear_next(&mut hearing.answers), if !hearing.answers.is_empty() => {}
                () = heard_behind => {}
            }
        }
    }

    /// Asks for the key; a new grant has a fencing token that is no smaller than `least`.
    async fn attempt(&self, least: Option<FencingToken>) -> Result<Attempt> {
        self.voters.claim.mode().require_exclusive()?;
        let Shared { clock, .. } = &*self.voters.shared;
        for longest in SPLITS {
            let floor = least.max(self.voters.shared.proposal());
            match self.put(Motion::Acquire { floor }).await? {
                Outcome::Passed(fencing) => return Ok(Attempt::granted(fencing)),
                Outcome::Split(remaining) if longest.is_zero() => {
                    return Ok(Attempt::held(remaining));
                }
                Outcome::Split(_) => {
                    let pause = longest.mul_f64(fastrand::f64());
                    clock.sleep(pause).await;
                }
                Outcome::Refused(remaining) => return Ok(Attempt::held(remaining)),
                Outcome::Undone => return Ok(Attempt::Undone),
                // Only a fresh owner can have the key now.
                Outcome::Failed(_) if self.voters.campaign().is_spent() => {
                    return Ok(Attempt::Undone);
                }
                Outcome::Failed(errors) => return Err(self.voters.shared.failure(errors)),
            }
        }
        Ok(Attempt::held(None))
    }
}

impl Drop for QuorumLock {
    /// Undoes what nobody knows of: a claim that was refused, and whose request to some node has
    /// had no answer.
    fn drop(&mut self) {
        if !self.voters.campaign().leaves_traces() {
            return;
        }
        let reach = vec![Reach::Awaited; self.voters.shared.nodes.len()];
        let asks = self.voters.campaign().put(Motion::Release, &reach);
        Arc::clone(&self.voters).go_on(asks.into_iter().map(|ask| self.voters.ask(ask)).collect());
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lock for QuorumLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        self.attempt(None).await
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        match self.put(Motion::Renew(ttl)).await? {
            Outcome::Passed(fencing) => Ok(Renewal::renewed(fencing)),
            Outcome::Refused(_) | Outcome::Split(_) | Outcome::Undone => Ok(Renewal::Lost),
            Outcome::Failed(errors) => Err(self.voters.shared.failure(errors)),
        }
    }

    async fn release(&self) -> Result<Release> {
        match self.put(Motion::Release).await? {
            Outcome::Passed(_) => Ok(Release::Released),
            Outcome::Refused(_) | Outcome::Split(_) | Outcome::Undone => Ok(Release::NotHeld),
            Outcome::Failed(errors) => Err(self.voters.shared.failure(errors)),
        }
    }

    /// Waiters of a quorum poll: the nodes' signals would come at different times.
    fn as_hints(&self) -> Option<&dyn Hints> {
        None
    }

    /// The nodes' queues could each name another waiter as the next.
    fn as_queue(&self) -> Option<&dyn Queue> {
        None
    }

    /// The nodes would have to agree on the next holder and on its token, as for any grant.
    fn as_hand_over(&self) -> Option<&dyn HandOver> {
        None
    }

    fn as_fencing_floor(&self) -> Option<&dyn FencingFloor> {
        self.voters.shared.fences().then_some(self as _)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl FencingFloor for QuorumLock {
    async fn try_acquire_above(&self, floor: FencingToken) -> Result<Attempt> {
        self.attempt(Some(floor)).await
    }

    async fn raise(&self, to: FencingToken) -> Result<Option<FencingToken>> {
        match self.put(Motion::Raise(to)).await? {
            Outcome::Passed(fencing) => Ok(fencing),
            Outcome::Refused(_) | Outcome::Split(_) | Outcome::Undone => Ok(None),
            Outcome::Failed(errors) => Err(self.voters.shared.failure(errors)),
        }
    }
}

impl fmt::Debug for QuorumLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QuorumLock").field(&self.voters.claim).finish()
    }
}
