//! How long an acquisition waits, and in which manner.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::fairness::Fairness;
use crate::retry::{Backoff, RetryStrategy};

/// How long an acquisition may wait for a key that is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// One attempt.
    No,
    /// At most this long, with a last attempt at the end.
    AtMost(Duration),
    /// Until the strategy ends.
    Forever,
}

/// What an acquisition does when the key is held.
#[derive(Debug)]
pub(crate) struct Patience {
    pub(crate) wait: Wait,
    /// `None` for the default, which depends on how waiters learn of a release.
    pub(crate) retry: Option<Arc<dyn RetryStrategy>>,
    /// Releases are reported to waiters.
    pub(crate) hints: bool,
    pub(crate) fairness: Fairness,
    pub(crate) cancelled: Option<CancellationToken>,
    /// The owner token was minted for this acquisition, so another one may take its place.
    pub(crate) owner_is_minted: bool,
}

impl Patience {
    /// Begins a sequence of delays.
    pub(super) fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        match &self.retry {
            Some(strategy) => strategy.delays(),
            None if self.hints => Backoff::beside_hints().delays(),
            None => Backoff::default().delays(),
        }
    }
}
