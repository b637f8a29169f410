use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::Notify;

use super::Shared;
use super::campaign::{Answer, Ask, Campaign, Motion, Outcome, Reach, Request};
use super::node::{Answers, Node, Pending, Requests};
use crate::claim::{Claim, FencingToken, Ttl};
use crate::engine::limited;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::provider::{Attempt, Handover, Holder, Lock, Release, Renewal, Watch, WatchKind};

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
    voters: Arc<Voters>,
    /// One verb at a time: a campaign knows one motion.
    turn: tokio::sync::Mutex<()>,
}

/// What a verb's future and what goes on behind it share.
struct Voters {
    shared: Arc<Shared>,
    claim: Claim,
    campaign: Mutex<Campaign<Error>>,
    /// How many tasks go on behind earlier verbs, and whom to wake when one has ended.
    behind: AtomicUsize,
    idle: Notify,
}

impl QuorumLock {
    pub(super) fn new(shared: Arc<Shared>, claim: Claim) -> Self {
        let campaign = Mutex::new(shared.campaign());
        let (behind, idle) = Default::default();
        let voters = Arc::new(Voters { shared, claim, campaign, behind, idle });
        Self { voters, turn: tokio::sync::Mutex::new(()) }
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
    fn failure(&self, errors: Vec<(usize, Error)>) -> Error {
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

/// The nodes' answers to one motion. Those that are still to come are heard behind it, when it has been
/// decided and when its future was dropped.
struct Hearing<'a> {
    voters: &'a Arc<Voters>,
    answers: Answers,
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        Arc::clone(self.voters).go_on(std::mem::take(&mut self.answers));
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

impl Voters {
    fn campaign(&self) -> MutexGuard<'_, Campaign<Error>> {
        self.campaign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears the next answer and asks what follows from it; false when nothing is under way.
    async fn hear_next(self: &Arc<Self>, answers: &mut Answers) -> bool {
        let Some((ask, answer)) = answers.next().await else { return false };
        let asks = self.campaign().hear(ask, answer);
        answers.extend(asks.into_iter().map(|ask| self.ask(ask)));
        true
    }

    /// Sees to the nodes that have not answered when a majority has decided: what they grant too late
    /// is undone, who lags behind is brought level, and who has not taken a release is asked for it
    /// again while its lease may last.
    fn go_on(self: Arc<Self>, mut answers: Answers) {
        if answers.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            self.behind.fetch_add(1, Ordering::SeqCst);
            runtime.spawn(async move {
                while self.hear_next(&mut answers).await {}
                self.behind.fetch_sub(1, Ordering::SeqCst);
                self.idle.notify_waiters();
                self.release_again(answers).await;
            });
        }
    }

    /// Asks for releases again that nodes have not taken, with pauses that double, for a ttl.
    async fn release_again(self: &Arc<Self>, mut answers: Answers) {
        let Shared { clock, node_timeout, .. } = &*self.shared;
        let give_up = clock.now().after(self.claim.ttl().get());
        let mut pause = *node_timeout;
        while self.campaign().leaves_grants() && clock.now() < give_up {
            clock.sleep_until(clock.now().after(pause).min(give_up)).await;
            pause = pause.saturating_mul(2);
            let asks = self.campaign().release_again();
            answers.extend(asks.into_iter().map(|ask| self.ask(ask)));
            while self.hear_next(&mut answers).await {}
        }
    }

    /// Waits while releases of earlier attempts are on their way to too many nodes; each has its
    /// node's time limit.
    async fn unbarred(&self) {
        loop {
            let mut idle = pin!(self.idle.notified());
            idle.as_mut().enable();
            if self.behind.load(Ordering::SeqCst) == 0 || !self.campaign().is_barred() {
                return;
            }
            idle.await;
        }
    }

    /// Asks one node.
    fn ask(self: &Arc<Self>, ask: Ask) -> Pending<(Ask, Answer<Error>)> {
        let this = Arc::clone(self);
        Box::pin(async move {
            let Shared { nodes, clock, node_timeout, .. } = &*this.shared;
            let node = &nodes[ask.node];
            let answer = limited(&**clock, *node_timeout, this.request(node, ask)).await;
            match &answer {
                Err(error) if error.is_unavailable() => node.failed(clock.now()),
                _ => node.worked(),
            }
            let failed = |error: Error| {
                let applied = error.effect() != Effect::NotApplied;
                Answer::Failed { error, applied }
            };
            (ask, answer.unwrap_or_else(failed))
        })
    }

    async fn request(&self, node: &Node, ask: Ask) -> Result<Answer<Error>> {
        let claim = self.claim.clone();
        Ok(match ask.request {
            Request::Acquire { floor } => {
                let sent = self.shared.clock.now();
                let lock = node.provider.lock(claim.with_fencing_floor(floor));
                match (*lock).try_acquire().await? {
                    Attempt::Granted { fencing } => {
                        if let Some(token) = fencing
                            && Campaign::<Error>::is_new(ask)
                        {
                            self.shared.learn(sent, floor, token);
                        }
                        Answer::Yes(fencing)
                    }
                    Attempt::Held { remaining } => Answer::No(remaining),
                    Attempt::Undone => Answer::Undone,
                }
            }
            Request::Raise(to) => match (*node.provider.lock(claim)).raise(to).await? {
                Some(token) => Answer::Yes(Some(token)),
                None => Answer::No(None),
            },
            Request::Renew(ttl) => match (*node.provider.lock(claim)).renew(ttl).await? {
                Renewal::Renewed { fencing } => Answer::Yes(fencing),
                Renewal::Lost => Answer::No(None),
            },
            Request::Release => match (*node.provider.lock(claim)).release().await? {
                Release::Released => Answer::Yes(None),
                Release::NotHeld => Answer::No(None),
            },
        })
    }
}

/// Whom a majority of nodes names as holder.
struct Seen {
    holder: Holder,
    /// A majority names the same token as well, or there are none.
    agreed: bool,
}

impl QuorumLock {
    /// Asks the nodes that can be relied on, and the others if those cannot tell.
    async fn look(&self) -> Result<Option<Seen>> {
        let Shared { nodes, clock, .. } = &*self.voters.shared;
        let majority = Campaign::<Error>::majority_of(nodes.len());
        let (reliable, mut others): (Vec<_>, Vec<_>) =
            (0..nodes.len()).partition(|number| nodes[*number].is_reliable());
        let mut requests: Requests<_> =
            reliable.iter().map(|node| self.ask_holder(*node)).collect();
        let (mut answers, mut errors, mut given) = (Vec::new(), Vec::new(), 0);
        loop {
            let Some((number, answer)) = requests.next().await else {
                if others.is_empty() {
                    break;
                }
                requests.extend(others.drain(..).map(|node| self.ask_holder(node)));
                continue;
            };
            match answer {
                Ok(holder) => {
                    nodes[number].worked();
                    given += 1;
                    answers.extend(holder);
                }
                Err(error) => {
                    if error.is_unavailable() {
                        nodes[number].failed(clock.now());
                    }
                    errors.push((number, error));
                }
            }
            let seen = elected(&answers, majority, self.voters.shared.fences());
            if seen.as_ref().is_some_and(|seen| seen.agreed) {
                return Ok(seen);
            }
            // Whatever the others would say, nobody has a majority.
            if nodes.len() - given + most_alike(&answers) < majority {
                return Ok(None);
            }
        }
        match elected(&answers, majority, self.voters.shared.fences()) {
            Some(seen) => Ok(Some(seen)),
            None => Err(self.failure(errors)),
        }
    }

    fn ask_holder(&self, number: usize) -> Pending<(usize, Result<Option<Holder>>)> {
        let Shared { nodes, clock, node_timeout, .. } = &*self.voters.shared;
        let lock = nodes[number].provider.lock(self.voters.claim.clone());
        let (clock, limit) = (Arc::clone(clock), *node_timeout);
        Box::pin(async move { (number, limited(&*clock, limit, (*lock).inspect()).await) })
    }
}

/// How many answers name one owner, at the most.
fn most_alike(answers: &[Holder]) -> usize {
    let alike = |one: &Holder| answers.iter().filter(|other| other.owner() == one.owner()).count();
    answers.iter().map(alike).max().unwrap_or_default()
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

/// Finds the holder that a majority names; of what it tells of times, a majority tells no less.
fn elected(answers: &[Holder], majority: usize, fences: bool) -> Option<Seen> {
    let of_majority = |same: &dyn Fn(&Holder) -> bool| {
        answers.iter().filter(|holder| same(holder)).count() >= majority
    };
    let by_owner = |one: &&Holder| of_majority(&|other| other.owner() == one.owner());
    let named = answers.iter().find(by_owner)?;
    let theirs = || answers.iter().filter(|other| other.owner() == named.owner());
    let mut times: Vec<Duration> = theirs().filter_map(Holder::remaining).collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    let by_token = |one: &&Holder| {
        of_majority(&|other| other.owner() == one.owner() && other.fencing() == one.fencing())
    };
    let fencing = theirs().find(by_token).and_then(Holder::fencing);
    let holder = Holder::new(named.owner())
        .with_metadata(named.metadata().clone())
        .with_remaining(times.get(majority - 1).copied())
        .with_fencing(fencing);
    Some(Seen { holder, agreed: !fences || fencing.is_some() })
}

impl fmt::Debug for QuorumLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("QuorumLock").field(&self.voters.claim).finish()
    }
}
