//! What one node may hold for the claim, as its requests and answers tell.

use std::time::Duration;

use super::{Answer, Ask, Request};
use lock_core::FencingToken;

/// What one node has to do with the claim.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Seat<E> {
    pub(super) vote: Vote<E>,
    /// Its vote is worth waiting for.
    pub(super) awaited: bool,
    /// It has failed lately: it is not worth waiting for once a majority has answered.
    pub(super) doubted: bool,
    /// How many acquisitions may be on their way, or have ended without a known outcome.
    pub(super) acquires: u8,
    /// How many of them have had no answer, not even that they failed.
    acquiring: u8,
    /// When it was asked last, an earlier acquisition was on its way.
    overlaps: bool,
    /// It has granted the key in this campaign.
    pub(super) granted: bool,
    /// The token of its grant: another one is a grant that this campaign knows nothing of.
    pub(super) token: Option<FencingToken>,
    /// How many releases may be on their way: one that lands late frees whatever is acquired here.
    pub(super) releases: u8,
    /// How many of them have had no answer, not even that they failed.
    unanswered: u8,
    /// The motion whose release has been sent, and not been answered.
    pub(super) releasing: Option<u32>,
    /// When the last release was sent, more than one acquisition may have been on its way: one of
    /// them may be served after the release, although that frees something.
    doubtful: bool,
    /// The motion whose release has freed what was acquired here before: whose answer is still to
    /// come.
    freed_by: u32,
    /// An attempt has been given back here, which may have ended this owner's time here (law U1).
    pub(super) given_back: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Vote<E> {
    /// Not asked, or not heard of yet.
    None,
    /// For the motion, with this fencing token.
    For(Option<FencingToken>),
    /// As [`Vote::For`], and asked to go to a larger token.
    Raising(Option<FencingToken>),
    /// Against it, for so long.
    Against(Option<Duration>),
    /// This owner may not acquire there any more.
    Undone,
    Failed(Option<E>),
}

impl<E> Seat<E> {
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

    /// Takes note of a request.
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

    /// Takes note of an answer, and returns whether the node may have granted the key anew; `None`
    /// for an answer that a release has overtaken.
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
        // What is refused is gone, unless an earlier request may have been served after this one.
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
                    self.freed_by = number; // its answer has been overtaken
                }
                self.granted = self.doubtful;
                self.doubtful
            }
            Answer::No(_) => {
                // Its tombstone sees to those on their way.
                (self.granted, self.acquires) = (false, 0);
                false
            }
            Answer::Undone | Answer::Failed { .. } => false,
        }
    }

    /// Whether an answer counts as its vote: of several releases the first that was taken does.
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

    /// Whether a release of what it holds is under way.
    pub(super) fn is_releasing(&self) -> bool {
        self.unanswered > 0
    }

    /// Whether it can be asked to acquire without doubt about what comes of earlier requests.
    pub(super) fn is_ready(&self) -> bool {
        self.releases == 0 && self.acquiring == 0
    }

    /// Whether an answer to an earlier request may still end such doubt.
    pub(super) fn may_be_ready(&self) -> bool {
        self.is_releasing() || self.acquiring > 0
    }

    /// Whether a release has ended without a known outcome: it may land at any time.
    pub(super) fn has_lost_a_release(&self) -> bool {
        self.releases > self.unanswered
    }

    pub(super) fn is_pending(&self) -> bool {
        self.awaited && matches!(self.vote, Vote::None)
    }

    pub(super) fn has_answered(&self) -> bool {
        !matches!(self.vote, Vote::None | Vote::Failed(_))
    }
}
