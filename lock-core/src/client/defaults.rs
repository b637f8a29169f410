//! The settings of acquisitions that set none of their own.

use std::sync::Arc;
use std::time::Duration;

use crate::acquiring::Wait;
use crate::backend::{Capabilities, Capability, LockProvider};
use crate::error::Result;
use crate::fairness::Fairness;
use crate::retry::RetryStrategy;

/// The settings that an acquisition starts with.
#[derive(Clone, Debug)]
pub(super) struct Defaults {
    pub(super) ttl: Duration,
    pub(super) wait: Wait,
    /// `None` until one is chosen: the default depends on the provider.
    pub(super) retry: Option<Arc<dyn RetryStrategy>>,
    pub(super) fairness: Option<Fairness>,
}

impl Defaults {
    /// Returns the fairness that was set, or the best one that the provider supports.
    pub(super) fn fairness(&self, queues: bool, provider: &dyn LockProvider) -> Result<Fairness> {
        match self.fairness {
            Some(Fairness::Race) => Ok(Fairness::Race),
            Some(fair) if queues => Ok(fair),
            Some(_) => {
                Err(Capabilities::of(provider).lack(provider.info().name(), Capability::Queue))
            }
            None => Ok(if queues { Fairness::Turns } else { Fairness::Race }),
        }
    }
}
