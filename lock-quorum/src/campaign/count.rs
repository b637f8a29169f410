//! Decides by the votes.

use std::time::Duration;

use super::Campaign;
use super::message::{Motion, Outcome};
use super::peer::{Peer, Vote};
use lock_core::FencingToken;

impl<E: Clone> Campaign<E> {
    /// Decides by the votes, as soon as those that are missing cannot change it.
    pub(super) fn count(&self) -> Option<Outcome<E>> {
        let votes_for = self.peers.iter().filter_map(Peer::vote_token).count();
        if votes_for >= self.majority() {
            return self.agreed().map(Outcome::Passed);
        }
        let pending = self.pending();
        if votes_for + pending >= self.majority() {
            return None;
        }
        // If a majority has seen the owner release, that is the answer, whoever holds the key
        // elsewhere.
        let undone = self.peers.iter().filter(|peer| matches!(peer.vote, Vote::Undone)).count();
        if undone > 0 && pending > 0 && undone + pending > self.peers.len() - self.majority() {
            return None;
        }
        let defeat = self.defeat();
        // The votes that are missing may give a better reason than a failure.
        (pending == 0 || !matches!(defeat, Outcome::Failed(_))).then_some(defeat)
    }

    /// Returns the token of a motion that a majority has voted for; nothing while the majority has
    /// not agreed on one, as an acquisition needs it.
    fn agreed(&self) -> Option<Option<FencingToken>> {
        if !self.fences {
            return Some(None);
        }
        // Grants that this campaign knows of keep the agreed token when they are renewed, also at
        // nodes that have not gone up to it yet.
        let same = |peer: &&Peer<E>| peer.vote_token() == Some(peer.token);
        if matches!(self.motion, Motion::Renew(_))
            && self.fencing.is_some()
            && self.peers.iter().filter(same).count() >= self.majority()
        {
            return Some(self.fencing);
        }
        let mut tokens: Vec<_> = self.peers.iter().filter_map(Peer::vote_token).collect();
        tokens.sort_unstable_by(|a, b| b.cmp(a));
        if let Some(token) = tokens.iter().find(|token| self.is_of_a_majority(**token)) {
            return Some(*token);
        }
        let undecided = self.may_be_alike() || self.raising();
        if matches!(self.motion, Motion::Acquire { .. }) || undecided || self.fencing.is_none() {
            return None;
        }
        // This majority was granted anew. No node agrees with another, and the holder knows a
        // different token, so core takes the answer for a loss.
        Some(tokens[self.majority() - 1])
    }

    fn is_of_a_majority(&self, token: Option<FencingToken>) -> bool {
        let same = |peer: &&Peer<E>| matches!(peer.vote, Vote::For(one) if one == token);
        self.peers.iter().filter(same).count() >= self.majority()
    }

    /// Says why no majority can be reached.
    fn defeat(&self) -> Outcome<E> {
        let minority = self.peers.len() - self.majority();
        let count =
            |what: fn(&Vote<E>) -> bool| self.peers.iter().filter(|peer| what(&peer.vote)).count();
        if count(|vote| matches!(vote, Vote::Undone)) > minority {
            return Outcome::Undone;
        }
        let against = |vote: &Vote<E>| matches!(vote, Vote::Against(_) | Vote::Undone);
        let acquires = matches!(self.motion, Motion::Acquire { .. });
        let released = count(|vote| matches!(vote, Vote::For(_)));
        if self.motion == Motion::Release
            && released > 0
            && count(against) <= minority
            && released + count(against) >= self.majority()
        {
            // Whatever the others hold is no majority.
            return Outcome::Passed(None);
        }
        // Others that hold the key at some nodes are reason enough to wait, even if more have
        // failed than a majority can spare; but a majority that fails is a failure, whatever the
        // rest says.
        let failed = count(|vote| matches!(vote, Vote::Failed(_) | Vote::None));
        if count(against) > minority || acquires && count(against) > 0 && failed <= minority {
            let split = acquires && !self.holds && count(|vote| matches!(vote, Vote::For(_))) > 0;
            let refused = if split { Outcome::Split } else { Outcome::Refused };
            return refused(self.free_in());
        }
        let errors = self.peers.iter().enumerate().filter_map(|(node, peer)| match &peer.vote {
            Vote::Failed(Some(error)) => Some((node, error.clone())),
            _ => None,
        });
        Outcome::Failed(errors.collect())
    }

    /// How long until the leases of others leave a majority free, as far as that is known.
    fn free_in(&self) -> Option<Duration> {
        let mut times: Vec<_> = self
            .peers
            .iter()
            .filter_map(|peer| match peer.vote {
                Vote::Against(left) => left,
                Vote::For(_) | Vote::Raising(_) => Some(Duration::ZERO),
                Vote::None | Vote::Undone | Vote::Failed(_) => None,
            })
            .collect();
        times.sort_unstable();
        // A node that has not answered may be free as soon as the others.
        let missing = self.peers.len() - times.len();
        times.get((self.majority() - 1).saturating_sub(missing)).copied()
    }

    /// Whether missing votes are worth waiting for before anything is raised, as they may complete
    /// a majority with one token.
    ///
    /// The claim may hold the key already: an earlier attempt, perhaps of another process, was
    /// granted. Its token is the one that a majority has, and it is below the floor that is
    /// proposed now. So if no token is below the floor, all grants are new and nothing is waited
    /// for.
    pub(super) fn may_be_alike(&self) -> bool {
        if let Motion::Acquire { floor: Some(floor) } = self.motion
            && !self.holds
            && self.peers.iter().filter_map(Peer::vote_token).all(|token| token >= Some(floor))
        {
            return false;
        }
        let pending = self.pending();
        let raising = self.raising();
        let tokens = || self.peers.iter().filter_map(Peer::vote_token);
        let same = |token| tokens().filter(|other| *other == token).count();
        !raising && tokens().any(|token| same(token) + pending >= self.majority())
    }

    /// How many votes are missing that are worth waiting for. Nodes that failed lately are not,
    /// once a majority has answered: a frozen node then costs nothing.
    fn pending(&self) -> usize {
        let answered = self.peers.iter().filter(|peer| peer.has_answered()).count();
        let enough = answered >= self.majority();
        self.peers.iter().filter(|peer| peer.is_pending() && !(enough && peer.doubted)).count()
    }

    pub(super) fn raising(&self) -> bool {
        self.peers.iter().any(|peer| matches!(peer.vote, Vote::Raising(_)))
    }
}
