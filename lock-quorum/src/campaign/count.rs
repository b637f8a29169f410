//! Decides by the votes.

use std::time::Duration;

use super::seat::{Seat, Vote};
use super::{Campaign, Motion, Outcome};
use lock_core::FencingToken;

impl<E: Clone> Campaign<E> {
    /// Decides by the votes, as soon as those that are missing cannot change it.
    pub(super) fn count(&self) -> Option<Outcome<E>> {
        let passing = matches!(self.motion, Motion::Acquire { .. }) && self.fences;
        let votes_for = self.seats.iter().filter_map(Seat::vote_token);
        if votes_for.clone().count() >= self.majority() {
            let mut tokens: Vec<_> = votes_for.collect();
            tokens.sort_unstable_by(|a, b| b.cmp(a));
            if !passing {
                let same = |seat: &&Seat<E>| seat.vote_token() == Some(seat.token);
                let kept = matches!(self.motion, Motion::Renew(_))
                    && self.seats.iter().filter(same).count() >= self.majority();
                if let Some(token) = self.fencing.filter(|_| kept) {
                    return Some(Outcome::Passed(Some(token)));
                }
                return match tokens.iter().find(|token| self.is_of_a_majority(**token)) {
                    _ if !self.fences => Some(Outcome::Passed(None)),
                    Some(token) => Some(Outcome::Passed(*token)),
                    None if self.may_be_alike() || self.raising() => None,
                    // Of a majority that was granted anew: not what the holder knows.
                    None if self.fencing.is_some() => {
                        Some(Outcome::Passed(tokens[self.majority() - 1]))
                    }
                    None => None,
                };
            }
            if let Some(token) = tokens.iter().find(|token| self.is_of_a_majority(**token)) {
                return Some(Outcome::Passed(*token));
            }
        }
        let pending = self.pending();
        if self.seats.iter().filter_map(Seat::vote_token).count() + pending >= self.majority() {
            return None;
        }
        // An owner whom a majority has seen release is told so, whoever holds the key at the
        // others.
        let undone = self.seats.iter().filter(|seat| matches!(seat.vote, Vote::Undone)).count();
        if undone > 0 && pending > 0 && undone + pending > self.seats.len() - self.majority() {
            return None;
        }
        let defeat = self.defeat();
        // Those that are still missing may tell why.
        (pending == 0 || !matches!(defeat, Outcome::Failed(_))).then_some(defeat)
    }

    fn is_of_a_majority(&self, token: Option<FencingToken>) -> bool {
        let same = |seat: &&Seat<E>| matches!(seat.vote, Vote::For(one) if one == token);
        self.seats.iter().filter(same).count() >= self.majority()
    }

    /// Says why no majority can be reached.
    fn defeat(&self) -> Outcome<E> {
        let minority = self.seats.len() - self.majority();
        let count =
            |what: fn(&Vote<E>) -> bool| self.seats.iter().filter(|seat| what(&seat.vote)).count();
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
        let errors = self.seats.iter().enumerate().filter_map(|(node, seat)| match &seat.vote {
            Vote::Failed(Some(error)) => Some((node, error.clone())),
            _ => None,
        });
        Outcome::Failed(errors.collect())
    }

    /// How long until the leases of others leave a majority free, as far as they tell.
    fn free_in(&self) -> Option<Duration> {
        let mut times: Vec<_> = self
            .seats
            .iter()
            .filter_map(|seat| match seat.vote {
                Vote::Against(left) => left,
                Vote::For(_) | Vote::Raising(_) => Some(Duration::ZERO),
                Vote::None | Vote::Undone | Vote::Failed(_) => None,
            })
            .collect();
        times.sort_unstable();
        // Who has not answered may be free as soon as the others.
        let missing = self.seats.len() - times.len();
        times.get((self.majority() - 1).saturating_sub(missing)).copied()
    }

    /// Whether those that have not answered are worth waiting for, as they may make the token of a
    /// majority. That can only be an earlier grant of this claim, so it is below what is proposed
    /// now.
    pub(super) fn may_be_alike(&self) -> bool {
        if let Motion::Acquire { floor: Some(floor) } = self.motion
            && !self.holds
            && self.seats.iter().filter_map(Seat::vote_token).all(|token| token >= Some(floor))
        {
            return false;
        }
        let pending = self.pending();
        let raising = self.raising();
        let tokens = || self.seats.iter().filter_map(Seat::vote_token);
        let same = |token| tokens().filter(|other| *other == token).count();
        !raising && tokens().any(|token| same(token) + pending >= self.majority())
    }

    /// How many votes are missing that are worth waiting for.
    fn pending(&self) -> usize {
        let answered = self.seats.iter().filter(|seat| seat.has_answered()).count();
        let enough = answered >= self.majority();
        self.seats.iter().filter(|seat| seat.is_pending() && !(enough && seat.doubted)).count()
    }

    pub(super) fn raising(&self) -> bool {
        self.seats.iter().any(|seat| matches!(seat.vote, Vote::Raising(_)))
    }
}
