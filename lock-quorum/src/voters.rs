//! Asks the nodes for one claim, and hears what they answer.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::Notify;

use super::Shared;
use super::campaign::{Answer, Ask, Campaign, Request};
use super::node::{Answers, Pending, Word};
use lock_core::{Attempt, Claim, Effect, Error, Release, Renewal, Result, limited};

/// How long the answer of a node is listened for that nobody waits for any longer. Without it, a node that
/// was slow once would stay useless to the claim: a request without an answer may take effect at any time.
const LATEST: Duration = Duration::from_secs(1);

/// What a verb's future and what goes on behind it share.
pub(super) struct Voters {
    pub(super) shared: Arc<Shared>,
    pub(super) claim: Claim,
    campaign: Mutex<Campaign<Error>>,
    /// How many tasks go on behind earlier verbs, and whom to wake when one has heard something or ended.
    behind: AtomicUsize,
    heard: Notify,
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
        let (behind, heard) = Default::default();
        Arc::new(Self { shared, claim, campaign, behind, heard })
    }

    pub(super) fn campaign(&self) -> MutexGuard<'_, Campaign<Error>> {
        self.campaign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears the next answer and asks what follows from it; false when nothing is under way.
    pub(super) async fn hear_next(self: &Arc<Self>, answers: &mut Answers) -> bool {
        let Some((ask, word)) = answers.next().await else { return false };
        let asks = match word {
            Word::Answer(answer) => self.campaign().hear(ask, answer),
            Word::Late(error, rest) => {
                answers.push(rest);
                self.campaign().hear_nothing_yet(ask, error)
            }
        };
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
                while self.hear_next(&mut answers).await {
                    self.heard.notify_waiters();
                }
                self.behind.fetch_sub(1, Ordering::SeqCst);
                self.heard.notify_waiters();
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

    /// Waits while releases of earlier attempts are on their way to nodes that a majority needs, at most
    /// as long as a node may take to answer.
    pub(super) async fn unbarred(&self) {
        let Shared { nodes, clock, node_timeout, .. } = &*self.shared;
        let is_reliable = |node: usize| nodes[node].is_reliable();
        let is_barred =
            || self.behind.load(Ordering::SeqCst) > 0 && self.campaign().is_barred(is_reliable);
        if !is_barred() {
            return;
        }
        let mut time_is_up = pin!(clock.sleep_until(clock.now().after(*node_timeout)));
        loop {
            let mut heard = pin!(self.heard.notified());
            heard.as_mut().enable();
            if !is_barred() {
                return;
            }
            tokio::select! {
                () = heard => {}
                () = &mut time_is_up => return,
            }
        }
    }

    /// Asks one node.
    pub(super) fn ask(self: &Arc<Self>, ask: Ask) -> Pending<(Ask, Word)> {
        let this = Arc::clone(self);
        Box::pin(async move {
            let Shared { clock, node_timeout, .. } = &*this.shared;
            let asking = Arc::clone(&this);
            let mut request = Box::pin(async move { asking.request(ask).await });
            let mut is_over = false;
            let in_time = async {
                let answer = request.as_mut().await;
                is_over = true;
                answer
            };
            let answer = limited(&**clock, *node_timeout, in_time).await;
            let word = this.judge(ask, answer);
            match word {
                Answer::Failed { error, .. } if !is_over => {
                    let rest = Box::pin(async move {
                        let clock = &*this.shared.clock;
                        let answer = limited(clock, LATEST, request).await;
                        (ask, Word::Answer(this.judge(ask, answer)))
                    });
                    (ask, Word::Late(error, rest))
                }
                answer => (ask, Word::Answer(answer)),
            }
        })
    }

    /// Learns from an answer, or its absence, whether the node can be relied on.
    fn judge(&self, ask: Ask, answer: Result<Answer<Error>>) -> Answer<Error> {
        let node = &self.shared.nodes[ask.node];
        match &answer {
            Err(error) if error.is_unavailable() => node.failed(self.shared.clock.now()),
            _ => node.worked(),
        }
        answer.unwrap_or_else(|error| {
            let applied = error.effect() != Effect::NotApplied;
            Answer::Failed { error, applied }
        })
    }

    async fn request(&self, ask: Ask) -> Result<Answer<Error>> {
        let (claim, node) = (self.claim.clone(), &self.shared.nodes[ask.node]);
        Ok(match ask.request {
            Request::Acquire { floor } => {
                let sent = self.shared.clock.now();
                let lock = node.provider.lock(claim.with_fencing_floor(floor));
                match (*lock).try_acquire().await? {
                    Attempt::Granted { fencing } => {
                        let in_time = sent.after(self.shared.node_timeout);
                        if let Some(token) = fencing
                            && Campaign::<Error>::is_new(ask)
                            && self.shared.clock.now() <= in_time
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
