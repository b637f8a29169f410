//! What is known of a release: arithmetic, without clock and I/O.

use crate::backend::Release;

/// What is known of the requests that give the lock back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Releasing {
    /// Whether the local deadline had passed when the first of them left; `None` before that.
    pub(super) late: Option<bool>,
    /// One of them may have taken effect without an answer.
    pub(super) unanswered: bool,
    pub(super) outcome: Option<GivenBack>,
    /// Copies that might still take the key have been seen to as well.
    pub(super) complete: bool,
}

/// What the first answer to a release says of the time before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GivenBack {
    /// What the backend answered.
    pub(super) answer: Release,
    /// The lock had been held until then, as far as the answer can tell.
    pub(super) in_time: bool,
}

impl GivenBack {
    pub(super) fn new(answer: Release, excused: bool) -> Self {
        Self { answer, in_time: answer != Release::NotHeld || excused }
    }
}
