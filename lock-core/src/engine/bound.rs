//! A claim, and the lock that a backend made from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::backend::{Claim, Lock, LockProvider};
use crate::observe::Identity;
use crate::value::{LockKey, OwnerFingerprint};

/// The number of the next acquisition of this process, for its events.
static NEXT: AtomicU64 = AtomicU64::new(1);

/// A claim, and the lock that a backend made from it.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) claim: Claim,
    pub(crate) lock: Arc<dyn Lock>,
    /// Joins the events of one acquisition and its hold.
    id: u64,
}

impl Bound {
    pub(crate) fn new(provider: &dyn LockProvider, claim: Claim) -> Self {
        let lock = provider.lock(claim.clone());
        Self { claim, lock, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Binds another claim of the same acquisition.
    pub(crate) fn again(&self, provider: &dyn LockProvider, claim: Claim) -> Self {
        let lock = provider.lock(claim.clone());
        Self { claim, lock, id: self.id }
    }

    pub(crate) fn key(&self) -> &LockKey {
        self.claim.key()
    }

    pub(crate) fn owner(&self) -> OwnerFingerprint {
        self.claim.owner_token().fingerprint()
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity { id: self.id, owner: self.owner(), mode: self.claim.mode() }
    }
}
