//! What is said in a campaign: what the claim wants, what the nodes are asked and answer, what
//! comes of it.

use std::time::Duration;

use lock_core::FencingToken;
use lock_core::backend::Ttl;

/// What the owner of the claim wants of the nodes. One request to each node follows from it, and
/// further requests from the answers.
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
    /// A majority agrees, with this fencing token.
    Passed(Option<FencingToken>),
    /// No majority is possible: others hold the key (for so long), or it is lost or not held.
    Refused(Option<Duration>),
    /// Others hold the key at some nodes, and this claim did at others: perhaps nobody has a
    /// majority, so it is worth trying again soon.
    Split(Option<Duration>),
    /// So many nodes have seen this owner release that it can never have a majority again (law U1).
    Undone,
    /// Too many nodes have failed for a majority; each with its error.
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
    /// The motion that was put when it was sent. An answer to an earlier motion is no vote on the
    /// present one, but it still says what the node holds.
    pub(crate) number: u32,
}

/// The verb that a node is asked for.
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
    /// The node has seen this owner release, and grants it nothing any more.
    Undone,
    /// The request failed. If `applied`, it may have taken effect, or may yet do so.
    Failed { error: E, applied: bool },
}

impl Request {
    /// Whether its answer is a vote on the motion, and not on what follows from it, such as an
    /// undo.
    pub(super) fn is_for(self, motion: Motion) -> bool {
        matches!(
            (self, motion),
            (Self::Acquire { .. } | Self::Raise(_), Motion::Acquire { .. })
                | (Self::Renew(_) | Self::Raise(_), Motion::Renew(_))
                | (Self::Raise(_), Motion::Raise(_))
                | (Self::Release, Motion::Release)
        )
    }
}
