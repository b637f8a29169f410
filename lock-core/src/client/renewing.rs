//! Whether a lease is renewed.

use std::time::Duration;

/// Whether a lease is renewed while it is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewing {
    /// `run` renews, `acquire` does not.
    Unset,
    Never,
    /// At this interval; `None` means a third of the ttl.
    Every(Option<Duration>),
}
