//! The names of the verbs, for events and for scripted faults.

use std::fmt;

/// The verbs of a provider and its locks.
///
/// # Examples
///
/// ```
/// use lock_core::backend::Verb;
///
/// assert_eq!(Verb::TryAcquire.name(), "try_acquire");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Verb {
    /// Every attempt: plain, above a floor, or one that joins the waiters.
    TryAcquire,
    /// [`Lock::renew`](super::Lock::renew).
    Renew,
    /// [`Lock::release`](super::Lock::release).
    Release,
    /// [`FencingFloor::raise`](super::FencingFloor::raise).
    Raise,
    /// [`HandOver::hand_over`](super::HandOver::hand_over).
    HandOver,
    /// [`Inspect::inspect`](super::Inspect::inspect).
    Inspect,
    /// [`Hints::subscribe`](super::Hints::subscribe).
    Subscribe,
}

impl Verb {
    /// Returns the name, for the label of a metric.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Verb;
    ///
    /// assert_eq!(Verb::HandOver.name(), "hand_over");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::TryAcquire => "try_acquire",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Raise => "raise",
            Self::HandOver => "hand_over",
            Self::Inspect => "inspect",
            Self::Subscribe => "subscribe",
        }
    }
}

impl fmt::Display for Verb {
    /// Writes the [`name`](Verb::name).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
