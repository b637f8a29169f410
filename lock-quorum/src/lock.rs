//! The verbs of one claim to a quorum.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Shared;
use super::campaign::{Campaign, Motion, Outcome, Reach};
use super::inspect::Seen;
use super::voters::{Hearing, Voters};
use lock_core::{
    Attempt, Claim, Effect, Error, ErrorKind, FencingToken, Handover, Holder, Lock, Release,
    Renewal, Result, Ttl, Watch, WatchKind,
};

/// The longest pauses after split votes in a row; the last one is reported as contention.
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

/// How often nodes are asked whose tokens differ, before the holder is shown without one.
const INSPECTIONS: usize = 4;

/// One claim to a majority of the nodes.
pub(super) struct QuorumLock {
    pub(super) voters: Arc<Voters>,
    /// One verb at a time: a campaign knows one motion.
    turn: tokio::sync::Mutex<()>,
}

impl QuorumLock {
    pub(super) fn new(shared: Arc<Shared>, claim: Claim) -> Self {
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
            if let Some(outcome) = voters.campaign().outcome() {
                return Ok(outcome);
            }
            if !voters.hear_next(&mut hearing.answers).await {
                let message = "the nodes of the quorum were asked and none is left to answer";
                return Err(Error::new(ErrorKind::Unavailable, message));
            }
        }
    }

    /// Makes one error of those of the nodes.
    pub(super) fn failure(&self, errors: Vec<(usize, Error)>) -> Error {
        let size = self.voters.shared.nodes.len();
        // What a majority says is what the quorum says; else it is out of reach.
        let needed = Campaign::<Error>::majority_of(size);
        let same = |kind| errors.iter().filter(|(_, error)| error.kind() == kind).count();
        let kind = errors.iter().map(|(_, error)| error.kind()).find(|kind| same(*kind) >= needed);
        let kind = kind.unwrap_or(ErrorKind::Unavailable);
        let told: Vec<_> =
            errors.iter().map(|(node, error)| format!("node {}: {error:#}", node + 1)).collect();
        let message = match told.join("; ") {
            told if told.is_empty() => {
                "they failed lately, or still undo an earlier attempt of this claim".into()
            }
            told => told,
        };
        let message = format!("no majority of {needed} of {size} nodes can be reached ({message})");
        let untouched = errors.len() == size
            && errors.iter().all(|(_, error)| error.effect() == Effect::NotApplied);
        let effect = if untouched { Effect::NotApplied } else { Effect::Unknown };
        let error = Error::new(kind, message).with_effect(effect);
        match errors.into_iter().next() {
            Some((_, source)) => error.with_source(source),
            None => error,
        }
    }
}

impl Drop for QuorumLock {
    /// Undoes what nobody knows of: a claim that was refused, and whose request to some node has had
    /// no answer.
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
impl Lock for QuorumLock {
    fn claim(&self) -> &Claim {
        &self.voters.claim
    }

    async fn try_acquire(&self) -> Result<Attempt> {
        let Shared { clock, .. } = &*self.voters.shared;
        for longest in SPLITS {
            let floor = self.voters.claim.fencing_floor().max(self.voters.shared.proposal());
            match self.put(Motion::Acquire { floor }).await? {
                Outcome::Passed(fencing) => return Ok(Attempt::Granted { fencing }),
                Outcome::Split(remaining) if longest.is_zero() => {
                    return Ok(Attempt::Held { remaining });
                }
                // Those who have split the nodes among them come back one after the other.
                Outcome::Split(_) => {
                    let pause = longest.mul_f64(fastrand::f64());
                    clock.sleep_until(clock.now().after(pause)).await;
                }
                Outcome::Refused(remaining) => return Ok(Attempt::Held { remaining }),
                Outcome::Undone => return Ok(Attempt::Undone),
                // Only a fresh owner can have the key now.
                Outcome::Failed(_) if self.voters.campaign().is_spent() => {
                    return Ok(Attempt::Undone);
                }
                Outcome::Failed(errors) => return Err(self.failure(errors)),
            }
        }
        Ok(Attempt::Held { remaining: None })
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        match self.put(Motion::Renew(ttl)).await? {
            Outcome::Passed(fencing) => Ok(Renewal::Renewed { fencing }),
            Outcome::Refused(_) | Outcome::Split(_) | Outcome::Undone => Ok(Renewal::Lost),
            Outcome::Failed(errors) => Err(self.failure(errors)),
        }
    }

    async fn release(&self) -> Result<Release> {
        match self.put(Motion::Release).await? {
            Outcome::Passed(_) => Ok(Release::Released),
            Outcome::Refused(_) | Outcome::Split(_) | Outcome::Undone => Ok(Release::NotHeld),
            Outcome::Failed(errors) => Err(self.failure(errors)),
        }
    }

    /// Asks all nodes, and tells who holds the key at a majority of them. While that owner's token is
    /// still being agreed on, they are asked again; a token that is never agreed on is not told.
    async fn inspect(&self) -> Result<Option<Holder>> {
        for _ in 0..INSPECTIONS {
            match self.look().await? {
                Some(Seen { holder, agreed: false }) => drop(holder),
                Some(Seen { holder, agreed: true }) => return Ok(Some(holder)),
                None => return Ok(None),
            }
        }
        Ok(self.look().await?.map(|seen| seen.holder))
    }

    async fn raise(&self, fencing: FencingToken) -> Result<Option<FencingToken>> {
        match self.put(Motion::Raise(fencing)).await? {
            Outcome::Passed(fencing) => Ok(fencing),
            Outcome::Refused(_) | Outcome::Split(_) | Outcome::Undone => Ok(None),
            Outcome::Failed(errors) => Err(self.failure(errors)),
        }
    }

    async fn hand_over(&self, _next: &Claim) -> Result<Option<Handover>> {
        Ok(None)
    }

    async fn watch(&self, _kind: WatchKind) -> Result<Option<Watch>> {
        Ok(None)
    }
}

impl fmt::Debug for QuorumLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QuorumLock").field(&self.voters.claim).finish()
    }
}
