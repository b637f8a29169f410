//! One claim's part in a quorum, as plain code without I/O or time: what the nodes answer goes in,
//! what to ask them comes out. The same code runs in the provider and in the model checker.

use std::time::Duration;

mod count;
mod seat;

use self::seat::{Seat, Vote};
use lock_core::FencingToken;
use lock_core::backend::Ttl;

/// The requests of one claim to its nodes, and what is known from their answers.
///
/// Its owner puts one motion at a time; a later one takes the place of an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Campaign<E> {
    seats: Box<[Seat<E>]>,
    /// The motion that is put, and its number: answers to earlier ones are late.
    motion: Motion,
    number: u32,
    /// Its first motion was to acquire.
    began_here: bool,
    /// What became of it, as soon as that is certain; an undo may still be under way.
    outcome: Option<Outcome<E>>,
    told: bool,
    /// An earlier motion has given the claim the key, and none has taken it away.
    holds: bool,
    /// The fencing token that a majority has agreed on.
    fencing: Option<FencingToken>,
    fences: bool,
}

/// What the owner of the claim wants of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Motion {
    Acquire { floor: Option<FencingToken> },
    Renew(Ttl),
    Raise(FencingToken),
    Release,
}

/// What became of a motion.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome<E> {
    Passed(Option<FencingToken>),
    /// A majority cannot be reached, as others hold the key (for so long), or as it is lost or not
    /// held.
    Refused(Option<Duration>),
    /// Others hold the key at so many nodes, and this claim did at some: perhaps nobody has a
    /// majority.
    Split(Option<Duration>),
    Undone,
    /// So many nodes have failed, with these errors, that a majority cannot be reached.
    Failed(Vec<(usize, E)>),
}

/// How a node is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// It is asked and waited for.
    Awaited,
    /// It has failed lately: it is asked, and counts if it answers in time.
    Probed,
    /// It has failed lately, and is being asked already.
    Skipped,
}

/// A request to one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Ask {
    pub(crate) node: usize,
    pub(crate) request: Request,
    pub(crate) number: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Request {
    Acquire { floor: Option<FencingToken> },
    Raise(FencingToken),
    Renew(Ttl),
    Release,
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Answer<E> {
    /// Acquired, or renewed.
    Yes(Option<FencingToken>),
    /// Held by another (for so long), lost, or not held.
    No(Option<Duration>),
    Undone,
    /// It failed; it may have taken effect, or yet take it.
    Failed {
        error: E,
        applied: bool,
    },
}

impl<E: Clone> Campaign<E> {
    /// Begins for a claim to nodes of which all, or not all, have fencing tokens.
    pub(crate) fn new(nodes: usize, fences: bool) -> Self {
        Self {
            seats: vec![Seat::new(); nodes].into(),
            motion: Motion::Release,
            number: 0,
            began_here: false,
            outcome: None,
            told: true,
            holds: false,
            fencing: None,
            fences,
        }
    }

    pub(crate) const fn majority_of(nodes: usize) -> usize {
        nodes / 2 + 1
    }

    fn majority(&self) -> usize {
        Self::majority_of(self.seats.len())
    }

    /// Puts a motion to the nodes.
    ///
    /// If those that can be relied on are no majority, all are asked and waited for, until a
    /// majority has answered.
    pub(crate) fn put(&mut self, motion: Motion, reach: &[Reach]) -> Vec<Ask> {
        // One that begins with something else was acquired elsewhere.
        self.began_here |= self.number == 0 && matches!(motion, Motion::Acquire { .. });
        self.number += 1;
        (self.motion, self.outcome, self.told) = (motion, None, false);
        if motion == Motion::Release {
            self.holds = false;
        }
        let mut asks = Vec::with_capacity(self.seats.len());
        let reliable = reach.iter().filter(|reach| **reach == Reach::Awaited).count();
        for node in 0..self.seats.len() {
            let seat = &mut self.seats[node];
            seat.vote = Vote::Failed(None);
            seat.given_back &= matches!(motion, Motion::Acquire { .. });
            let (request, barred) = match motion {
                Motion::Acquire { floor } => {
                    let floor = floor.max(self.fencing);
                    (Request::Acquire { floor }, seat.releases > 0)
                }
                Motion::Renew(ttl) => (Request::Renew(ttl), false),
                Motion::Raise(to) => (Request::Raise(to), false),
                Motion::Release => (Request::Release, false),
            };
            if barred {
                continue;
            }
            let enough = reliable >= Self::majority_of(reach.len());
            let is_doubted = reach[node] != Reach::Awaited;
            let reach = if enough { reach[node] } else { Reach::Awaited };
            seat.awaited = reach == Reach::Awaited;
            seat.doubted = is_doubted;
            let may_hold = !self.began_here || seat.may_hold();
            if reach == Reach::Skipped && !(motion == Motion::Release && may_hold) {
                continue;
            }
            seat.vote = Vote::None;
            asks.push(self.ask(node, request));
        }
        self.weigh(&mut asks);
        asks
    }

    /// Takes a node's answer to an earlier ask, and returns what to ask in turn.
    pub(crate) fn hear(&mut self, ask: Ask, answer: Answer<E>) -> Vec<Ask> {
        let mut asks = Vec::new();
        let seat = &mut self.seats[ask.node];
        let Some(anew) = seat.heard(ask, &answer) else { return asks };
        if ask.number == self.number && ask.request.is_for(self.motion) && seat.has_to_vote(ask) {
            seat.vote = match answer {
                Answer::Yes(token) => Vote::For(token),
                Answer::No(left) => Vote::Against(left),
                // By this campaign itself, so it says nothing of the claim.
                Answer::Undone if seat.given_back => Vote::Failed(None),
                Answer::Undone => Vote::Undone,
                Answer::Failed { error, .. } => Vote::Failed(Some(error)),
            };
            self.weigh(&mut asks);
        }
        // A late success, or one that the last release may have missed.
        if anew && !self.keeps_grants() && !self.seats[ask.node].is_releasing() {
            asks.push(self.ask(ask.node, Request::Release));
            if ask.number != self.number {
                self.seats[ask.node].releasing = None; // nobody who waits will hear of it
            }
        }
        asks
    }

    /// Takes note that a node has not answered in time: it counts as failed, and nobody waits for
    /// it. Its answer is heard when it comes, and until then the request is known to be under way.
    pub(crate) fn hear_nothing_yet(&mut self, ask: Ask, error: E) -> Vec<Ask> {
        let mut asks = Vec::new();
        let seat = &mut self.seats[ask.node];
        if ask.request == Request::Release {
            seat.releasing = seat.releasing.filter(|number| *number != ask.number);
        }
        if ask.number == self.number && ask.request.is_for(self.motion) && seat.has_to_vote(ask) {
            seat.vote = Vote::Failed(Some(error));
            self.weigh(&mut asks);
        }
        asks
    }

    /// Whether what is granted now is granted for the first time, as far as is known.
    pub(crate) fn is_new(ask: Ask) -> bool {
        ask.number == 1
    }

    /// Returns what became of the motion, once, when everything that belongs to it is done.
    pub(crate) fn outcome(&mut self) -> Option<Outcome<E>> {
        if self.told || self.undoing() {
            return None;
        }
        let outcome = self.outcome.clone()?;
        self.told = true;
        Some(outcome)
    }

    /// Whether too few nodes can be relied on and asked without doubt, while the answer to an
    /// earlier request may change that.
    pub(crate) fn is_barred(&self, is_reliable: impl Fn(usize) -> bool) -> bool {
        let seats = self.seats.iter().enumerate();
        let ready = seats.filter(|(node, seat)| seat.is_ready() && is_reliable(*node)).count();
        ready < self.majority() && self.seats.iter().any(Seat::may_be_ready)
    }

    /// Whether no majority can be asked for this claim any more, however well the nodes are:
    /// releases of earlier attempts have had no answer from too many, and may free what is acquired
    /// later.
    pub(crate) fn is_spent(&self) -> bool {
        let open = self.seats.iter().filter(|seat| !seat.has_lost_a_release()).count();
        open < self.majority()
    }

    /// Whether nodes have not taken a release.
    pub(crate) fn leaves_grants(&self) -> bool {
        (0..self.seats.len()).any(|node| self.is_left(node))
    }

    /// Asks those nodes once more; nobody waits for it.
    pub(crate) fn release_again(&mut self) -> Vec<Ask> {
        let left: Vec<_> = (0..self.seats.len()).filter(|node| self.is_left(*node)).collect();
        let asks = left.into_iter().map(|node| {
            let ask = self.ask(node, Request::Release);
            self.seats[node].releasing = None;
            ask
        });
        asks.collect()
    }

    /// Whether a node may hold the key although it was asked for its release.
    fn is_left(&self, node: usize) -> bool {
        let seat = &self.seats[node];
        let unsure = seat.acquires > 0 || matches!(seat.vote, Vote::Failed(Some(_)));
        !self.keeps_grants()
            && !seat.is_releasing()
            && (seat.granted || self.motion == Motion::Release && unsure)
    }

    /// Whether something is left to be undone that nobody knows of.
    pub(crate) fn leaves_traces(&self) -> bool {
        self.motion != Motion::Release && !self.holds && self.seats.iter().any(Seat::may_hold)
    }

    /// Puts the seats into another order: which node is which makes no difference to the model.
    #[cfg(test)]
    pub(crate) fn reorder(&mut self, order: &[usize]) {
        self.seats = order.iter().map(|node| self.seats[*node].clone()).collect();
    }

    #[cfg(test)]
    pub(crate) fn compare(&self, one: usize, other: usize) -> std::cmp::Ordering
    where
        E: Ord,
    {
        self.seats[one].cmp(&self.seats[other])
    }

    /// The largest token of any majority that has granted: not agreed on, so good for nothing.
    #[cfg(test)]
    pub(crate) fn largest_of_a_majority(&self) -> Option<FencingToken> {
        let granted = || self.seats.iter().filter_map(Seat::vote_token);
        let enough = granted().count() >= self.majority();
        granted().max().flatten().filter(|_| enough)
    }

    fn ask(&mut self, node: usize, request: Request) -> Ask {
        let ask = Ask { node, request, number: self.number };
        let seat = &mut self.seats[node];
        seat.asked(ask);
        if request == Request::Release {
            seat.given_back |= matches!(self.motion, Motion::Acquire { .. });
        }
        ask
    }

    /// Whether what nodes grant now is wanted.
    fn keeps_grants(&self) -> bool {
        self.holds || matches!(self.motion, Motion::Acquire { .. }) && self.outcome.is_none()
    }

    /// Whether the grants of a failed acquisition are being given back.
    fn undoing(&self) -> bool {
        matches!(self.motion, Motion::Acquire { .. })
            && !self.holds
            && self.seats.iter().any(|seat| seat.awaited && seat.releasing == Some(self.number))
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
                    self.raise(asks); // taken over from elsewhere, and not told its token
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

    fn give_back(&mut self, asks: &mut Vec<Ask>) {
        for node in 0..self.seats.len() {
            let seat = &self.seats[node];
            let renewed = matches!((self.motion, &seat.vote), (Motion::Renew(_), Vote::For(_)));
            if (seat.granted || renewed) && !seat.is_releasing() {
                asks.push(self.ask(node, Request::Release));
            }
        }
    }

    /// Asks those that have granted with a smaller token to go to the agreed one, or to the
    /// largest.
    ///
    /// Tokens of a majority that are alike need no second round. A node goes to a larger token only
    /// while the claim holds its key, so no two owners ever agree on one number.
    fn raise(&mut self, asks: &mut Vec<Ask>) {
        let granted = || self.seats.iter().filter_map(Seat::vote_token);
        let floor = match self.outcome {
            _ if !self.fences => return,
            Some(_) => self.fencing,
            None if granted().count() < self.majority() || self.may_be_alike() => return,
            None => granted().max().flatten(),
        };
        for node in 0..self.seats.len() {
            if let (Vote::For(token), Some(to)) = (&self.seats[node].vote, floor)
                && *token < floor
            {
                self.seats[node].vote = Vote::Raising(*token);
                asks.push(self.ask(node, Request::Raise(to)));
            }
        }
    }

    /// Acquires again, for a renewal that has passed, at the nodes that have lost the key.
    fn repair(&mut self, asks: &mut Vec<Ask>) {
        if !matches!(self.outcome, Some(Outcome::Passed(_))) {
            return;
        }
        for node in 0..self.seats.len() {
            let seat = &mut self.seats[node];
            if matches!(seat.vote, Vote::Against(_)) && seat.releases == 0 {
                seat.vote = Vote::Failed(None);
                asks.push(self.ask(node, Request::Acquire { floor: self.fencing }));
            }
        }
    }
}

impl Request {
    /// Whether this is what a motion asks for, not what follows from it.
    fn is_for(self, motion: Motion) -> bool {
        matches!(
            (self, motion),
            (Self::Acquire { .. } | Self::Raise(_), Motion::Acquire { .. })
                | (Self::Renew(_) | Self::Raise(_), Motion::Renew(_))
                | (Self::Raise(_), Motion::Raise(_))
                | (Self::Release, Motion::Release)
        )
    }
}
