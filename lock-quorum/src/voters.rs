//! Asks the nodes for one claim, and hears what they answer.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::campaign::{Answer, Ask, Campaign, Request};
use crate::node::{Answers, Pending, Word};
use crate::shared::Shared;
use lock_core::backend::{Attempt, Claim, Effect, Release, Renewal, limited};
use lock_core::{Error, ErrorKind, Result};

/// How long the answer of a node is listened for that nobody waits for any longer.
///
/// A request without an answer may take effect at any time. After a slow undo, the claim could not
/// ask the node to acquire again. After a slow grant, it would undo twice, and the second undo
/// leaves a tombstone. So a node that was slow once would stay useless to the claim, and with
/// another node of three cut off, the claim could never be granted.
const LATEST: Duration = Duration::from_secs(1);

/// What a verb's future and what goes on behind it share.
pub(crate) struct Voters {
    pub(crate) shared: Arc<Shared>,
    pub(crate) claim: Claim,
    campaign: Mutex<Campaign<Error>>,
    /// How many tasks hear answers to earlier verbs. While there is one, a node may yet become
    /// ready.
    behind: AtomicUsize,
    /// Wakes a motion that waits for such a node, whenever a task has heard something or ended.
    heard: Notify,
}

/// The nodes' answers to one motion. Those that are still to come are heard behind it, when it has
/// been decided and when its future was dropped.
pub(crate) struct Hearing<'a> {
    pub(crate) voters: &'a Arc<Voters>,
    pub(crate) answers: Answers,
}

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        Arc::clone(self.voters).go_on(std::mem::take(&mut self.answers));
    }
}

/// A task that hears answers to earlier verbs, as `behind` counts it. A task that its runtime drops
/// is no longer counted either, so nobody waits for it.
struct Listener(Arc<Voters>);

impl Listener {
    fn new(voters: Arc<Voters>) -> Self {
        voters.behind.fetch_add(1, Ordering::SeqCst);
        Self(voters)
    }

    async fn hear_all(self, answers: &mut Answers) {
        while self.0.hear_next(answers).await {
            self.0.heard.notify_waiters();
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.behind.fetch_sub(1, Ordering::SeqCst);
        self.0.heard.notify_waiters();
    }
}

impl Voters {
    pub(crate) fn new(shared: Arc<Shared>, claim: Claim) -> Arc<Self> {
        let campaign = Mutex::new(shared.campaign());
        let (behind, heard) = Default::default();
        Arc::new(Self { shared, claim, campaign, behind, heard })
    }

    pub(crate) fn campaign(&self) -> MutexGuard<'_, Campaign<Error>> {
        self.campaign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hears the next answer and asks what follows from it; false when nothing is under way.
    pub(crate) async fn hear_next(self: &Arc<Self>, answers: &mut Answers) -> bool {
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

    /// Hears the nodes that have not answered when a majority has decided. Grants that come too
    /// late are undone, tokens that lag behind are raised, and nodes that did not confirm a release
    /// are asked again while the lease may last.
    pub(crate) fn go_on(self: Arc<Self>, mut answers: Answers) {
        if answers.is_empty() {
            return;
        }
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let listener = Listener::new(Arc::clone(&self));
            runtime.spawn(async move {
                listener.hear_all(&mut answers).await;
                self.release_again(answers).await;
            });
        }
    }

    /// Whether a task hears answers to earlier verbs.
    pub(crate) fn hears_behind(&self) -> bool {
        self.behind.load(Ordering::SeqCst) > 0
    }

    /// Waits until such a task has heard something or ended.
    pub(crate) fn heard_behind(&self) -> Notified<'_> {
        self.heard.notified()
    }

    /// Retries releases that nodes did not confirm, with exponential backoff, for one ttl: after
    /// that, the lease has ended by itself.
    async fn release_again(self: &Arc<Self>, mut answers: Answers) {
        let Shared { clock, node_timeout, .. } = &*self.shared;
        let give_up = clock.now().after(self.claim.ttl().as_duration());
        let mut pause = *node_timeout;
        while self.campaign().leaves_grants() && clock.now() < give_up {
            clock.sleep_until(clock.now().after(pause).min(give_up)).await;
            pause = pause.saturating_mul(2);
            let listener = Listener::new(Arc::clone(self));
            let asks = self.campaign().release_again();
            answers.extend(asks.into_iter().map(|ask| self.ask(ask)));
            listener.hear_all(&mut answers).await;
        }
    }

    /// Waits while releases of earlier attempts are on their way to nodes that a majority needs, at
    /// most as long as a node may take to answer.
    pub(crate) async fn unbarred(&self) {
        let Shared { nodes, clock, node_timeout, .. } = &*self.shared;
        let is_reliable = |node: usize| nodes[node].is_reliable();
        let is_barred = || self.hears_behind() && self.campaign().is_barred(is_reliable);
        if !is_barred() {
            return;
        }
        let mut time_is_up = pin!(clock.sleep(*node_timeout));
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
    pub(crate) fn ask(self: &Arc<Self>, ask: Ask) -> Pending<(Ask, Word)> {
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
        let node = &self.shared.nodes[ask.node];
        let lock = node.provider.lock(self.claim.clone());
        Ok(match ask.request {
            Request::Acquire { floor } => {
                let sent = self.shared.clock.now();
                let attempt = match (floor, lock.as_fencing_floor()) {
                    (Some(floor), Some(node)) => node.try_acquire_above(floor).await?,
                    _ => (*lock).try_acquire().await?,
                };
                match attempt {
                    Attempt::Granted(grant) => {
                        let in_time = sent.after(self.shared.node_timeout);
                        if let Some(token) = grant.fencing
                            && Campaign::<Error>::is_new(ask)
                            && self.shared.clock.now() <= in_time
                        {
                            self.shared.learn(sent, floor, token);
                        }
                        Answer::Yes(grant.fencing)
                    }
                    Attempt::Held(busy) => Answer::No(busy.remaining),
                    Attempt::Undone => Answer::Undone,
                }
            }
            Request::Raise(to) => match lock.as_fencing_floor() {
                Some(node) => match node.raise(to).await? {
                    Some(token) => Answer::Yes(Some(token)),
                    None => Answer::No(None),
                },
                None => {
                    let message = "a node cannot raise its fencing tokens";
                    return Err(Error::new(ErrorKind::Unsupported, message));
                }
            },
            Request::Renew(ttl) => match (*lock).renew(ttl).await? {
                Renewal::Renewed(grant) => Answer::Yes(grant.fencing),
                Renewal::Lost => Answer::No(None),
            },
            Request::Release => match (*lock).release().await? {
                Release::Released | Release::Contested => Answer::Yes(None),
                Release::NotHeld => Answer::No(None),
            },
        })
    }
}
