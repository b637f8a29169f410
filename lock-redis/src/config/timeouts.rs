//! How long a connection may take to open, to answer, and to say nothing.

use std::time::Duration;

/// How long the driver waits.
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
    /// A server that owes an answer for this long is taken for frozen or cut off: packets may get lost
    /// without an error ever being seen.
    pub(crate) const SILENCE: Duration = Duration::from_secs(1);

    /// For how long nothing is asked of a server that has denied a subscription or a report.
    pub(crate) const DENIED: Duration = Duration::from_secs(60);
}
