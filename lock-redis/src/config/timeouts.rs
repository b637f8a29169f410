//! Time limits of connections.

use std::time::Duration;

/// How long the driver waits for a connection to open, and for an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), response: Duration::from_secs(5) }
    }
}

impl Timeouts {
    /// A server that has left a request unanswered for this long counts as frozen or cut off,
    /// because packets can get lost without any error.
    pub(crate) const SILENCE: Duration = Duration::from_secs(1);

    /// How long a server that has denied a subscription or tracking is not asked for it again.
    pub(crate) const DENIED: Duration = Duration::from_secs(60);
}
