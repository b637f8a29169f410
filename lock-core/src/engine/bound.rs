//! A claim, and the lock that a backend made from it.

use std::sync::Arc;

use crate::backend::{Claim, Lock, LockProvider};
use crate::value::{LockKey, OwnerFingerprint};

/// A claim that is bound to the backend. `lock` was always made from `claim`.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    pub(crate) claim: Claim,
    pub(crate) lock: Arc<dyn Lock>,
}

impl Bound {
    pub(crate) fn new(provider: &dyn LockProvider, claim: Claim) -> Self {
        let lock = provider.lock(claim.clone());
        Self { claim, lock }
    }

    pub(crate) fn key(&self) -> &LockKey {
        self.claim.key()
    }

    pub(crate) fn owner(&self) -> OwnerFingerprint {
        self.claim.owner_token().fingerprint()
    }
}
