//! Asks the nodes for one claim, and hears what they answer.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;
use tokio::sync::Notify;

use super::Shared;
use super::campaign::{Answer, Ask, Campaign, Request};
use super::node::{Answers, Node, Pending};
use crate::claim::Claim;
use crate::engine::limited;
use crate::error::{Effect, Error, Result};
use crate::provider::{Attempt, Release, Renewal};

/// What a verb's future and what goes on behind it share.
pub(super) struct Voters {
    pub(super) shared: Arc<Shared>,
    pub(super) claim: Claim,
    campaign: Mutex<Campaign<Error>>,
    /// How many tasks go on behind earlier verbs, and whom to wake when one has ended.
    behind: AtomicUsize,
    idle: Notify,
}

/// The nodes' answers to one motion. Those that are still to come are heard behind it, when it has been
/// decided and when its future was dropped.
pub(super) struct Hearing<'a> {
    pub(super) voters: &'a Arc<Voters>,
    pub(super) answers: Answers,
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        Arc::clone(self.voters).go_on(std::mem::take(&mut self.answers));
    }
}

impl Voters {
    pub(super) fn new(shared: Arc<Shared>, claim: Claim) -> Arc<Self> {
        let campaign = Mutex::new(shared.campaign());
        let (behind, idle) = Default::default();
        Arc::new(Self { shared, claim, campaign, behind, idle })
    }

    pub(super) fn campaign(&self) -> MutexGuard<'_, Campaign<Error>> {
        self.campaign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears the next answer and asks what follows from it; false when nothing is under way.
    pub(super) async fn hear_next(self: &Arc<Self>, answers: &mut Answers) -> bool {
        let Some((ask, answer)) = answers.next().await else { return false };
        let asks = self.campaign().hear(ask, answer);
        answers.extend(asks.into_iter().map(|ask| self.ask(ask)));
        true
    }

    /// Sees to the nodes that have not answered when a majority has decided: what they grant too late
    /// is undone, who lags behind is brought level, and who has not taken a release is asked for it
    /// again while its lease may last.
    pub(super) fn go_on(self: Arc<Self>, mut answers: Answers) {
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
    pub(super) async fn unbarred(&self) {
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
    pub(super) fn ask(self: &Arc<Self>, ask: Ask) -> Pending<(Ask, Answer<Error>)> {
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
                    Attempt::Held { remaining } | Attempt::Contested { remaining, .. } => {
                        Answer::No(remaining)
                    }
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
                Release::Released | Release::Contested => Answer::Yes(None),
                Release::NotHeld => Answer::No(None),
            },
        })
    }
}
