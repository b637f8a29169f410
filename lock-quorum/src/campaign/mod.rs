//! One claim's part in a quorum, as plain code without I/O or time: what the nodes answer goes in,
//! what to ask them comes out. The same code runs in the provider and in the model checker.

mod count;
mod message;
mod peer;

pub(crate) use self::message::{Answer, Ask, Motion, Outcome, Reach, Request};
use self::peer::{Peer, Vote};
use lock_core::FencingToken;

/// The requests of one claim to its nodes, and what is known from their answers.
///
/// Its owner puts one motion at a time; a later one takes the place of an earlier one. Every answer
/// is heard, however late, because only answers say what is left at a node. What is granted and not
/// wanted is released.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Campaign<E> {
    /// One for each node, by its number. A majority is more than half of them, whether they can be
    /// reached or not.
    peers: Box<[Peer<E>]>,
    /// The motion that is put.
    motion: Motion,
    /// Its number; zero before the first one. Only answers to requests of this number can be votes.
    number: u32,
    /// Its first motion was to acquire, so nodes hold nothing that this campaign has not asked for.
    /// A claim that was resumed has asked elsewhere: any node may hold the key for it.
    began_here: bool,
    /// What became of the motion. It is set once, as soon as missing votes cannot change it; an
    /// undo that follows from it may still be under way.
    outcome: Option<Outcome<E>>,
    /// The outcome was reported: the owner of the claim does not wait any more.
    reported: bool,
    /// An earlier motion has given the claim the key, and none has taken it away. While this is
    /// set, no grant is released, however the present motion ends.
    holds: bool,
    /// The fencing token that a majority has agreed on, while the claim holds the key.
    fencing: Option<FencingToken>,
    /// All nodes have fencing tokens that can be raised. Otherwise nothing is agreed on, and votes
    /// alone decide.
    fences: bool,
}

impl<E: Clone> Campaign<E> {
    /// Begins for a claim to nodes of which all, or not all, have fencing tokens.
    pub(crate) fn new(nodes: usize, fences: bool) -> Self {
        Self {
            peers: vec![Peer::new(); nodes].into(),
            motion: Motion::Release,
            number: 0,
            began_here: false,
            outcome: None,
            reported: true,
            holds: false,
            fencing: None,
            fences,
        }
    }

    pub(crate) const fn majority_of(nodes: usize) -> usize {
        nodes / 2 + 1
    }

    fn majority(&self) -> usize {
        Self::majority_of(self.peers.len())
    }

    /// Puts a motion to the nodes.
    ///
    /// If those that can be relied on are no majority, all are asked and waited for, until a
    /// majority has answered.
    pub(crate) fn put(&mut self, motion: Motion, reach: &[Reach]) -> Vec<Ask> {
        // A campaign that begins with another motion is of a claim that was acquired elsewhere.
        self.began_here |= self.number == 0 && matches!(motion, Motion::Acquire { .. });
        self.number += 1;
        (self.motion, self.outcome, self.reported) = (motion, None, false);
        if motion == Motion::Release {
            self.holds = false;
        }
        let mut asks = Vec::with_capacity(self.peers.len());
        let reliable = reach.iter().filter(|reach| **reach == Reach::Awaited).count();
        for node in 0..self.peers.len() {
            let peer = &mut self.peers[node];
            peer.vote = Vote::Failed(None);
            peer.given_back &= matches!(motion, Motion::Acquire { .. });
            let (request, barred) = match motion {
                Motion::Acquire { floor } => {
                    let floor = floor.max(self.fencing);
                    (Request::Acquire { floor }, peer.releases > 0)
                }
                Motion::Renew(ttl) => (Request::Renew(ttl), false),
                Motion::Raise(to) => (Request::Raise(to), false),
                Motion::Release => (Request::Release, false),
            };
            if barred {
                continue; // a release that lands late would free what is granted now
            }
            let enough = reliable >= Self::majority_of(reach.len());
            let is_doubted = reach[node] != Reach::Awaited;
            let reach = if enough { reach[node] } else { Reach::Awaited };
            peer.awaited = reach == Reach::Awaited;
            peer.doubted = is_doubted;
            let may_hold = !self.began_here || peer.may_hold();
            if reach == Reach::Skipped && !(motion == Motion::Release && may_hold) {
                continue;
            }
            peer.vote = Vote::None;
            asks.push(self.ask(node, request));
        }
        self.weigh(&mut asks);
        asks
    }

    /// Takes a node's answer to an earlier ask, and returns what to ask in turn.
    pub(crate) fn hear(&mut self, ask: Ask, answer: Answer<E>) -> Vec<Ask> {
        let mut asks = Vec::new();
        let peer = &mut self.peers[ask.node];
        let Some(anew) = peer.heard(ask, &answer) else { return asks };
        if ask.number == self.number && ask.request.is_for(self.motion) && peer.has_to_vote(ask) {
            peer.vote = match answer {
                Answer::Yes(token) => Vote::For(token),
                Answer::No(left) => Vote::Against(left),
                // An undo of this campaign came after the lease had ended, and left a tombstone.
                // That is no release by the owner, so the node counts as out of reach.
                Answer::Undone if peer.given_back => Vote::Failed(None),
                Answer::Undone => Vote::Undone,
                Answer::Failed { error, .. } => Vote::Failed(Some(error)),
            };
            self.weigh(&mut asks);
        }
        // A late success, or one that the last release may have missed.
        if anew && !self.keeps_grants() && !self.peers[ask.node].is_releasing() {
            asks.push(self.ask(ask.node, Request::Release));
            if ask.number != self.number {
                self.peers[ask.node].releasing = None; // no present caller waits for it
            }
        }
        asks
    }

    /// Records that a node has not answered in time. It counts as failed, and nobody waits for it.
    /// Its answer is heard when it comes, and until then the request counts as under way.
    pub(crate) fn hear_nothing_yet(&mut self, ask: Ask, error: E) -> Vec<Ask> {
        let mut asks = Vec::new();
        let peer = &mut self.peers[ask.node];
        if ask.request == Request::Release {
            peer.releasing = peer.releasing.filter(|number| *number != ask.number);
        }
        if ask.number == self.number && ask.request.is_for(self.motion) && peer.has_to_vote(ask) {
            peer.vote = Vote::Failed(Some(error));
            self.weigh(&mut asks);
        }
        asks
    }

    /// Whether a grant is the claim's first one, as far as is known: only its token shows the
    /// node's clock.
    pub(crate) fn is_new(ask: Ask) -> bool {
        ask.number == 1
    }

    /// Returns what became of the motion, once, when everything that belongs to it is done.
    pub(crate) fn outcome(&mut self) -> Option<Outcome<E>> {
        if self.reported || self.undoing() {
            return None;
        }
        let outcome = self.outcome.clone()?;
        self.reported = true;
        Some(outcome)
    }

    /// Whether too few nodes can be relied on and asked without doubt, while the answer to an
    /// earlier request may change that.
    pub(crate) fn is_barred(&self, is_reliable: impl Fn(usize) -> bool) -> bool {
        let peers = self.peers.iter().enumerate();
        let ready = peers.filter(|(node, peer)| peer.is_ready() && is_reliable(*node)).count();
        ready < self.majority() && self.peers.iter().any(Peer::may_be_ready)
    }

    /// Whether no majority can be asked for this claim any more, however well the nodes are:
    /// releases of earlier attempts have had no answer from too many, and may free what is acquired
    /// later.
    pub(crate) fn is_spent(&self) -> bool {
        let open = self.peers.iter().filter(|peer| !peer.has_lost_a_release()).count();
        open < self.majority()
    }

    /// Whether nodes may hold the key although they were asked for its release. They are asked
    /// again until the lease must have ended.
    pub(crate) fn leaves_grants(&self) -> bool {
        (0..self.peers.len()).any(|node| self.is_left(node))
    }

    /// Asks those nodes once more; nobody waits for it.
    pub(crate) fn release_again(&mut self) -> Vec<Ask> {
        let left: Vec<_> = (0..self.peers.len()).filter(|node| self.is_left(*node)).collect();
        let asks = left.into_iter().map(|node| {
            let ask = self.ask(node, Request::Release);
            self.peers[node].releasing = None;
            ask
        });
        asks.collect()
    }

    /// Whether a node may hold the key although it was asked for its release: its release failed,
    /// or an acquisition may have been served after it.
    fn is_left(&self, node: usize) -> bool {
        let peer = &self.peers[node];
        let unsure = peer.acquires > 0 || matches!(peer.vote, Vote::Failed(Some(_)));
        !self.keeps_grants()
            && !peer.is_releasing()
            && (peer.granted || self.motion == Motion::Release && unsure)
    }

    /// Whether nodes may hold something that nobody will release, as the owner was refused the key.
    pub(crate) fn leaves_traces(&self) -> bool {
        self.motion != Motion::Release && !self.holds && self.peers.iter().any(Peer::may_hold)
    }

    /// Puts the peers into another order: which node is which makes no difference to the model.
    #[cfg(test)]
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        self.peers = order.iter().map(|node| self.peers[*node].clone()).collect();
    }

    #[cfg(test)]
    pub(crate) fn compare(&self, one: usize, other: usize) -> std::cmp::Ordering
    where
        E: Ord,
    {
        self.peers[one].cmp(&self.peers[other])
    }

    /// The largest token of any majority that has granted: not agreed on, so good for nothing.
    #[cfg(test)]
    pub(crate) fn largest_of_a_majority(&self) -> Option<FencingToken> {
        let granted = || self.peers.iter().filter_map(Peer::vote_token);
        let enough = granted().count() >= self.majority();
        granted().max().flatten().filter(|_| enough)
    }

    fn ask(&mut self, node: usize, request: Request) -> Ask {
        let ask = Ask { node, request, number: self.number };
        let peer = &mut self.peers[node];
        peer.asked(ask);
        if request == Request::Release {
            peer.given_back |= matches!(self.motion, Motion::Acquire { .. });
        }
        ask
    }

    /// Whether what nodes grant now is wanted. Once an acquisition has failed, every further grant
    /// is released when its answer comes.
    fn keeps_grants(&self) -> bool {
        self.holds || matches!(self.motion, Motion::Acquire { .. }) && self.outcome.is_none()
    }

    /// Whether the grants of a failed acquisition are being released. Contention is reported only
    /// after that, so that a minority's grants do not refuse those who try next.
    fn undoing(&self) -> bool {
        matches!(self.motion, Motion::Acquire { .. })
            && !self.holds
            && self.peers.iter().any(|peer| peer.awaited && peer.releasing == Some(self.number))
    }

    /// Decides the motion, if that can be done, and does what follows from it.
    fn weigh(&mut self, asks: &mut Vec<Ask>) {
        if self.outcome.is_none() {
            self.outcome = self.count();
            match (&self.outcome, self.motion) {
                (None | Some(Outcome::Failed(_)), _) => {}
                (_, Motion::Release)
                | (Some(Outcome::Refused(_) | Outcome::Split(_) | Outcome::Undone), _) => {
                    (self.holds, self.fencing) = (false, None);
                }
                (Some(Outcome::Passed(token)), _) => (self.holds, self.fencing) = (true, *token),
            }
        }
        match self.motion {
            Motion::Acquire { .. } => self.weigh_acquisition(asks),
            Motion::Renew(_) if matches!(self.outcome, Some(Outcome::Refused(_))) => {
                self.give_back(asks); // what is left of a lost lock
            }
            Motion::Renew(_) => {
                if self.fencing.is_none() {
                    self.raise(asks); // a resumed claim, whose token is not known here
                }
                self.repair(asks);
            }
            Motion::Raise(_) | Motion::Release => {}
        }
    }

    fn weigh_acquisition(&mut self, asks: &mut Vec<Ask>) {
        match self.outcome {
            None | Some(Outcome::Passed(_)) => self.raise(asks),
            Some(_) if self.holds => {}
            Some(_) => self.give_back(asks),
        }
    }

    /// Releases what was granted, at every node where no release is under way.
    fn give_back(&mut self, asks: &mut Vec<Ask>) {
        for node in 0..self.peers.len() {
            let peer = &self.peers[node];
            let renewed = matches!((self.motion, &peer.vote), (Motion::Renew(_), Vote::For(_)));
            if (peer.granted || renewed) && !peer.is_releasing() {
                asks.push(self.ask(node, Request::Release));
            }
        }
    }

    /// Asks nodes with a smaller token to go to the agreed one, or to the largest.
    ///
    /// A majority with one token needs no second round. A node goes to a larger token only while
    /// the claim holds its key, and mints above it afterwards. So no two owners ever agree on one
    /// number. Nodes that have answered too late to matter are raised as well, so that a renewal
    /// finds one token everywhere.
    fn raise(&mut self, asks: &mut Vec<Ask>) {
        let granted = || self.peers.iter().filter_map(Peer::vote_token);
        let floor = match self.outcome {
            _ if !self.fences => return,
            Some(_) => self.fencing,
            None if granted().count() < self.majority() || self.may_be_alike() => return,
            None => granted().max().flatten(),
        };
        for node in 0..self.peers.len() {
            if let (Vote::For(token), Some(to)) = (&self.peers[node].vote, floor)
                && *token < floor
            {
                self.peers[node].vote = Vote::Raising(*token);
                asks.push(self.ask(node, Request::Raise(to)));
            }
        }
    }

    /// Acquires again, after a majority has renewed, at the nodes that do not hold the key any
    /// more. An acquisition never overwrites another holder (law E1), so this is safe.
    fn repair(&mut self, asks: &mut Vec<Ask>) {
        if !matches!(self.outcome, Some(Outcome::Passed(_))) {
            return;
        }
        for node in 0..self.peers.len() {
            let peer = &mut self.peers[node];
            if matches!(peer.vote, Vote::Against(_)) && peer.releases == 0 {
                peer.vote = Vote::Failed(None);
                asks.push(self.ask(node, Request::Acquire { floor: self.fencing }));
            }
        }
    }
}
