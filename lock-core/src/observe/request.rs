//! Outcomes of requests to the store.

use crate::backend::{Attempt, Occupancy, Release, Renewal, Subscription, Transfer};
use crate::error::ErrorKind;

/// What the store has answered to a request, or why it has not.
///
/// # Examples
///
/// ```
/// use lock_core::ErrorKind;
/// use lock_core::observe::RequestOutcome;
///
/// assert_eq!(RequestOutcome::Granted.name(), "granted");
/// assert_eq!(RequestOutcome::Failed(ErrorKind::Unavailable).name(), "unavailable");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestOutcome {
    /// The key was granted, or handed over.
    Granted,
    /// Another owner holds the key.
    Held,
    /// The store has undone an attempt of this owner, and no longer grants it the key.
    Undone,
    /// The lease was renewed.
    Renewed,
    /// This owner does not hold the key.
    NotHeld,
    /// The key was freed.
    Released,
    /// The store has answered another kind of request, such as an inspection or a subscription.
    Answered,
    /// The request failed with an error of this kind.
    Failed(ErrorKind),
    /// Nobody waits for the answer any more. The request may still take effect.
    Dropped,
}

impl RequestOutcome {
    /// Returns the name of the outcome, for the label of a metric.
    ///
    /// The name of a failure is the [name of the error's kind](ErrorKind::name).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Held => "held",
            Self::Undone => "undone",
            Self::Renewed => "renewed",
            Self::NotHeld => "not_held",
            Self::Released => "released",
            Self::Answered => "answered",
            Self::Failed(kind) => kind.name(),
            Self::Dropped => "dropped",
        }
    }
}

/// The answer to a verb.
pub(crate) trait Answer {
    fn outcome(&self) -> RequestOutcome;
}

impl Answer for Attempt {
    fn outcome(&self) -> RequestOutcome {
        match self {
            Self::Granted(_) => RequestOutcome::Granted,
            Self::Held(_) => RequestOutcome::Held,
            Self::Undone => RequestOutcome::Undone,
        }
    }
}

impl Answer for Renewal {
    fn outcome(&self) -> RequestOutcome {
        match self {
            Self::Renewed(_) => RequestOutcome::Renewed,
            Self::Lost => RequestOutcome::NotHeld,
        }
    }
}

impl Answer for Release {
    fn outcome(&self) -> RequestOutcome {
        match self {
            Self::Released | Self::Contested => RequestOutcome::Released,
            Self::NotHeld => RequestOutcome::NotHeld,
        }
    }
}

impl Answer for Transfer {
    fn outcome(&self) -> RequestOutcome {
        match self {
            Self::Granted { .. } => RequestOutcome::Granted,
            Self::Refused => RequestOutcome::Released,
            Self::NotHeld => RequestOutcome::NotHeld,
        }
    }
}

impl Answer for Subscription {
    fn outcome(&self) -> RequestOutcome {
        RequestOutcome::Answered
    }
}

impl Answer for Occupancy {
    fn outcome(&self) -> RequestOutcome {
        RequestOutcome::Answered
    }
}
