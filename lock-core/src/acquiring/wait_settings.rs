//! The settings for waiting: how long, and how.

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
    /// Until the retry strategy ends.
    Forever,
}

/// The settings of an acquisition for a key that is held.
#[derive(Debug)]
pub(crate) struct WaitSettings {
    pub(crate) wait: Wait,
    /// `None` means the default, which depends on `hints`.
    pub(crate) retry: Option<Arc<dyn RetryStrategy>>,
    /// Releases are reported to waiters.
    pub(crate) hints: bool,
    pub(crate) fairness: Fairness,
    pub(crate) cancelled: Option<CancellationToken>,
    /// Core has minted the owner token, so a fresh one may replace it.
    pub(crate) owner_is_minted: bool,
}

impl WaitSettings {
    /// Begins a sequence of delays.
    pub(super) fn delays(&self) -> Box<dyn Iterator<Item = Duration> + Send> {
        match &self.retry {
            Some(strategy) => strategy.delays(),
            None if self.hints => Backoff::beside_hints().delays(),
            None => Backoff::default().delays(),
        }
    }
}
