//! One owner's lock as the cases use it: the claim, the verbs, and the optional traits.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use lock_core::backend::{Claim, FencingFloor, HandOver, Hints, Queue, Subscription};
use lock_core::{Holder, Lock, LockProvider, Result};

/// A lock, with the claim that it was made from and the provider that made it.
#[derive(Clone)]
pub(crate) struct Handle {
    provider: Arc<dyn LockProvider>,
    claim: Claim,
    lock: Arc<dyn Lock>,
}

impl Handle {
    pub(crate) fn new(provider: &Arc<dyn LockProvider>, claim: Claim) -> Self {
        let lock = provider.lock(claim.clone());
        Self { provider: Arc::clone(provider), claim, lock }
    }

    pub(crate) fn claim(&self) -> &Claim {
        &self.claim
    }

    /// Returns another lock of the same claim.
    pub(crate) fn another(&self) -> Self {
        Self::new(&self.provider, self.claim.clone())
    }

    /// Returns who holds the key.
    pub(crate) async fn inspect(&self) -> Result<Option<Holder>> {
        let inspect = self.provider.as_inspect().expect("the provider can inspect");
        Ok(inspect.inspect(self.claim.key()).await?.holder().cloned())
    }

    pub(crate) fn hints(&self) -> &dyn Hints {
        self.lock.as_hints().expect("the lock has hints")
    }

    pub(crate) fn queue(&self) -> &dyn Queue {
        self.lock.as_queue().expect("the lock has a queue")
    }

    pub(crate) fn hand_over(&self) -> &dyn HandOver {
        self.lock.as_hand_over().expect("the lock can be handed over")
    }

    pub(crate) fn floor(&self) -> &dyn FencingFloor {
        self.lock.as_fencing_floor().expect("the lock has a fencing floor")
    }

    /// Subscribes, if the lock has hints.
    pub(crate) async fn subscribe_if_it_can(&self) -> Option<Subscription> {
        match self.lock.as_hints() {
            Some(hints) => Some(hints.subscribe().await.unwrap()),
            None => None,
        }
    }
}

impl Deref for Handle {
    type Target = dyn Lock;

    fn deref(&self) -> &Self::Target {
        &*self.lock
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock.fmt(f)
    }
}
