//! The state of a release, without clock and I/O.

use crate::backend::Release;

/// The state of the requests that give the lock back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Releasing {
    /// Whether the local deadline had passed when the first request left. Set once, by that
    /// request.
    pub(super) late: Option<bool>,
    /// One of the requests may have taken effect without an answer.
    pub(super) unanswered: bool,
    /// The first answer. Later ones never replace it.
    pub(super) outcome: Option<GivenBack>,
    /// No late copy of a request can take the key from now on. Implies `outcome`.
    pub(super) complete: bool,
}

/// The first answer to a release, and whether the lock had been held until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenBack {
    /// What the backend answered.
    pub(super) answer: Release,
    /// The answer does not prove a loss.
    pub(super) in_time: bool,
}

impl GivenBack {
    pub(super) fn new(answer: Release, excused: bool) -> Self {
        Self { answer, in_time: answer != Release::NotHeld || excused }
    }
}
