//! What one node may hold for the claim, as far as its requests and answers show, and its vote.

use std::time::Duration;

use super::message::{Answer, Ask, Request};
use lock_core::FencingToken;

/// What one node of the quorum may hold for the claim, and its vote on the present motion.
///
/// A request is *under way* from its sending to its answer. After a failure that may have taken
/// effect, it has *no known outcome*: it may take effect at any time, or never. The counts keep the
/// two apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Peer<E> {
    /// Its vote on the present motion. Every new motion resets it.
    pub(super) vote: Vote<E>,
    /// Its vote is worth waiting for. Otherwise it counts only if it comes before the others have
    /// decided.
    pub(super) awaited: bool,
    /// It has failed lately: it is not worth waiting for once a majority has answered.
    pub(super) doubted: bool,
    /// How many acquisitions are under way or have no known outcome. While there are any, the node
    /// may hold the key for this claim. A release that answers "not held" sets it to zero: its
    /// tombstone refuses all of them.
    pub(super) acquires: u8,
    /// How many acquisitions are under way. They may still be answered, so waiting may help.
    acquiring: u8,
    /// When it was asked last, an earlier acquisition was under way or had no known outcome. That
    /// one may be served later, so a refusal does not show that nothing is held.
    overlaps: bool,
    /// It has granted the key to this campaign, and no answer has shown the grant to be gone.
    pub(super) granted: bool,
    /// The token of that grant; none once an acquisition or a raise has left that may change it. A
    /// renewal that answers another token is of a grant that this campaign knows nothing of.
    pub(super) token: Option<FencingToken>,
    /// How many releases are under way or have no known outcome. One that lands late frees whatever
    /// is acquired here, so nothing is acquired while there are any.
    pub(super) releases: u8,
    /// How many releases are under way; never more than `releases`. The rest have no known outcome,
    /// and no answer will ever change that.
    unanswered: u8,
    /// The motion that waits for its release. None if the release was answered, or if nobody waits
    /// for it.
    pub(super) releasing: Option<u32>,
    /// When the last release was sent, more than one acquisition may have been under way. Then a
    /// release that frees something may have freed the earlier one, and the later one may be served
    /// after it: the node is released once more.
    doubtful: bool,
    /// The last motion whose release has freed a grant before its answer had come. That answer,
    /// and those to acquisitions of earlier motions, say nothing any more. Zero if there was none.
    freed_by: u32,
    /// An undo of this campaign was sent here since the last motion that was no acquisition. If the
    /// lease had ended before it, it left a tombstone: a refusal as undone is then the campaign's
    /// own doing.
    pub(super) given_back: bool,
}

/// What a node says of the present motion.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Vote<E> {
    /// It was asked and has not answered.
    None,
    /// For the motion, with this fencing token.
    For(Option<FencingToken>),
    /// As [`Vote::For`], but it was asked to go to a larger token, and its present one is not
    /// agreed on.
    Raising(Option<FencingToken>),
    /// Against it: another owner holds the key (for so long), or this one does not.
    Against(Option<Duration>),
    /// This owner may not acquire there any more.
    Undone,
    /// It has no vote: with an error, if it was asked and failed; without, if it was not asked, or
    /// if its answer says nothing of the claim.
    Failed(Option<E>),
}

impl<E> Peer<E> {
    pub(super) fn new() -> Self {
        Self {
            vote: Vote::None,
            awaited: true,
            doubted: false,
            acquires: 0,
            acquiring: 0,
            overlaps: false,
            granted: false,
            token: None,
            releases: 0,
            unanswered: 0,
            releasing: None,
            doubtful: false,
            freed_by: 0,
            given_back: false,
        }
    }

    /// Records that a request leaves.
    pub(super) fn asked(&mut self, ask: Ask) {
        match ask.request {
            Request::Release => {
                self.doubtful = self.acquires > 1 || self.granted && self.acquires > 0;
                self.releases = self.releases.saturating_add(1);
                self.unanswered = self.unanswered.saturating_add(1);
                self.releasing = Some(ask.number);
            }
            Request::Acquire { .. } | Request::Raise(_) | Request::Renew(_) => {
                self.overlaps = self.acquires > 0;
            }
        }
        if matches!(ask.request, Request::Acquire { .. }) {
            self.acquires = self.acquires.saturating_add(1);
            self.acquiring = self.acquiring.saturating_add(1);
        }
        if matches!(ask.request, Request::Acquire { .. } | Request::Raise(_)) {
            self.token = None;
        }
    }

    /// Records an answer, and returns whether the node may have granted the key anew; `None` for an
    /// answer that a release has overtaken.
    pub(super) fn heard(&mut self, ask: Ask, answer: &Answer<E>) -> Option<bool> {
        let in_doubt = matches!(answer, Answer::Failed { applied: true, .. });
        let mut missed = false;
        if matches!(ask.request, Request::Acquire { .. }) {
            self.acquiring = self.acquiring.saturating_sub(1);
        }
        match ask.request {
            Request::Release => {
                missed = self.heard_of_release(ask.number, answer);
                if !in_doubt {
                    self.releases = self.releases.saturating_sub(1);
                }
            }
            Request::Acquire { .. } if !in_doubt => {
                self.acquires = self.acquires.saturating_sub(1);
                if ask.number < self.freed_by {
                    return None;
                }
            }
            _ => {}
        }
        if let Answer::Yes(token) = answer
            && (!matches!(ask.request, Request::Renew(_)) || self.token.is_none())
        {
            self.token = *token;
        }
        // A refusal shows that the grant is gone, unless an earlier request may be served after
        // this one.
        let gone = matches!(answer, Answer::No(_)) && !self.overlaps && self.acquires == 0;
        let granted = matches!((ask.request, answer), (Request::Acquire { .. }, Answer::Yes(_)));
        self.granted = granted || self.granted && !gone;
        Some(granted || missed)
    }

    /// Returns whether the release may have missed an acquisition, although it has freed something.
    fn heard_of_release(&mut self, number: u32, answer: &Answer<E>) -> bool {
        self.releasing = self.releasing.filter(|other| *other != number);
        self.unanswered = self.unanswered.saturating_sub(1);
        match answer {
            Answer::Yes(_) => {
                if !self.doubtful && !self.granted && self.acquires == 1 {
                    self.freed_by = number; // it freed the one grant whose answer has not come
                }
                self.granted = self.doubtful;
                self.doubtful
            }
            Answer::No(_) => {
                // Its tombstone refuses acquisitions that arrive later.
                (self.granted, self.acquires) = (false, 0);
                false
            }
            Answer::Undone | Answer::Failed { .. } => false,
        }
    }

    /// Whether an answer counts as its vote. Of several releases, the first that was answered does:
    /// the second one finds nothing, and would say that the key had not been held.
    pub(super) fn has_to_vote(&self, ask: Ask) -> bool {
        ask.request != Request::Release || matches!(self.vote, Vote::None | Vote::Failed(Some(_)))
    }

    /// The fencing token of a vote for the motion.
    pub(super) fn vote_token(&self) -> Option<Option<FencingToken>> {
        match self.vote {
            Vote::For(token) | Vote::Raising(token) => Some(token),
            _ => None,
        }
    }

    /// Whether it may hold the key for this claim.
    pub(super) fn may_hold(&self) -> bool {
        self.granted || self.acquires > 0
    }

    /// Whether a release is under way.
    pub(super) fn is_releasing(&self) -> bool {
        self.unanswered > 0
    }

    /// Whether it can be asked to acquire, and no earlier request makes the result doubtful.
    pub(super) fn is_ready(&self) -> bool {
        self.releases == 0 && self.acquiring == 0
    }

    /// Whether an answer that is still to come may make it ready.
    pub(super) fn may_be_ready(&self) -> bool {
        self.is_releasing() || self.acquiring > 0
    }

    /// Whether a release has no known outcome, and will never have one: it may land at any time.
    pub(super) fn has_lost_a_release(&self) -> bool {
        self.releases > self.unanswered
    }

    /// Whether its vote is missing and worth waiting for.
    pub(super) fn is_pending(&self) -> bool {
        self.awaited && matches!(self.vote, Vote::None)
    }

    /// Whether it has voted in some way.
    pub(super) fn has_answered(&self) -> bool {
        !matches!(self.vote, Vote::None | Vote::Failed(_))
    }
}
