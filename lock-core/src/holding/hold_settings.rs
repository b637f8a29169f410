//! The settings for holding a lock: for how long, and how its lease is renewed.

use std::num::NonZeroU32;
use std::time::Duration;

/// What the caller has set for the time during which a lock is held.
#[derive(Clone, Debug, Default)]
pub(crate) struct HoldSettings {
    pub(crate) max_hold: Option<Duration>,
    /// Few acquisitions set any. They are boxed because an acquisition is moved around with them.
    pub(crate) renewals: Option<Box<Renewals>>,
}

/// How the lease of a held lock is renewed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Renewals {
    /// The interval; `None` means a third of the ttl.
    pub(crate) every: Option<Duration>,
    /// The time limit of one renewal, beside that of every request.
    pub(crate) timeout: Option<Duration>,
    /// The lock counts as lost after this many failed renewals in a row.
    pub(crate) max_failures: Option<NonZeroU32>,
}
