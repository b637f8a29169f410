//! A whole backend of one's own: three verbs over a map, a factory for its URLs, and the one line
//! that runs the conformance suite on it.
//!
//! ```sh
//! cargo run --example custom_backend
//! cargo test --example custom_backend     # the suite reports within a minute whether it is a lock
//! ```
//!
//! Waiting, retrying, renewing, detecting loss and undoing lost answers are done by core.

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use lock_core::backend::{
    Attempt, Claim, ProviderFactory, ProviderInfo, ProviderUrl, Release, Renewal, Ttl, async_trait,
};
use lock_core::registry::ProviderRegistry;
use lock_core::{FencingToken, Lock, LockProvider, Result};

/// The store: a stand-in for the one that you run.
#[derive(Debug, Default)]
struct Store {
    /// By key: the claim, the fencing token, and when the lease ends.
    leases: HashMap<String, (Claim, Option<FencingToken>, Instant)>,
    /// Claims that were released without being held, and until when they are remembered (law U1).
    tombstones: Vec<(Claim, Instant)>,
    /// Enough for a store that ends with its process. One that may lose its data while the protected
    /// resource lives on begins with the time (law F1).
    grants: u64,
}

#[derive(Debug)]
struct MapProvider {
    info: ProviderInfo,
    store: Arc<Mutex<Store>>,
}

impl LockProvider for MapProvider {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        Arc::new(MapLock { claim, store: Arc::clone(&self.store) })
    }
}

#[derive(Debug)]
struct MapLock {
    claim: Claim,
    store: Arc<Mutex<Store>>,
}

impl MapLock {
    /// Opens the store as of now, without what has ended. The mutex makes each verb atomic.
    fn open(&self) -> (MutexGuard<'_, Store>, Instant) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        store.leases.retain(|_, (_, _, ends)| now < *ends);
        store.tombstones.retain(|(_, until)| now < *until);
        (store, now)
    }
}

#[async_trait]
impl Lock for MapLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        self.claim.mode().require_exclusive()?;
        let (mut store, now) = self.open();
        let (key, owner) = (self.claim.key().as_str(), self.claim.owner_token());
        let new_end = now + self.claim.ttl().as_duration();
        if store.tombstones.iter().any(|(undone, _)| undone.owner_token() == owner) {
            return Ok(Attempt::Undone);
        }
        if let Some((holder, fencing, ends)) = store.leases.get_mut(key) {
            if holder.owner_token() != owner {
                return Ok(Attempt::held(*ends - now));
            }
            *ends = new_end.max(*ends); // the same owner asks again (law E2)
            return Ok(Attempt::granted(*fencing));
        }
        store.grants += 1;
        let fencing = FencingToken::new(store.grants);
        store.leases.insert(key.into(), (self.claim.clone(), fencing, new_end));
        Ok(Attempt::granted(fencing))
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        let (mut store, now) = self.open();
        match store.leases.get_mut(self.claim.key().as_str()) {
            Some((holder, fencing, ends)) if holder.owner_token() == self.claim.owner_token() => {
                *ends = now + ttl.as_duration();
                Ok(Renewal::renewed(*fencing))
            }
            _ => Ok(Renewal::Lost),
        }
    }

    async fn release(&self) -> Result<Release> {
        let (mut store, now) = self.open();
        let (key, owner) = (self.claim.key().as_str(), self.claim.owner_token());
        if store.leases.get(key).is_some_and(|(holder, ..)| holder.owner_token() == owner) {
            store.leases.remove(key);
            return Ok(Release::Released);
        }
        store.tombstones.push((self.claim.clone(), now + Release::TOMBSTONE));
        Ok(Release::NotHeld)
    }
}

impl MapProvider {
    fn new() -> Self {
        // What it declares, the suite demands.
        let info = ProviderInfo::new("map").with_fencing(true).with_server_clock(true);
        Self { info, store: Arc::default() }
    }
}

/// Serves `map://`, so that a configuration can name this backend.
#[derive(Debug)]
struct MapFactory;

#[async_trait]
impl ProviderFactory for MapFactory {
    fn schemes(&self) -> &[&str] {
        &["map"]
    }

    async fn connect(&self, url: &ProviderUrl) -> Result<Arc<dyn LockProvider>> {
        url.require_scheme_only()?; // there is nothing to configure
        Ok(Arc::new(MapProvider::new()))
    }
}

#[cfg(test)]
lock_testkit::conformance!(custom, || async {
    use lock_core::Capability::{Fencing, ServerClock};
    lock_testkit::Subject::new(MapProvider::new()).expects([Fencing, ServerClock])
});

#[tokio::main]
async fn main() -> Result<()> {
    let locks = ProviderRegistry::new().register(MapFactory)?.connect("map://").await?;
    let guard = locks.lock("invoice/42").acquire().await?;
    println!("holding {} with token {:?}", guard.key(), guard.fencing_token());
    let second = locks.lock("invoice/42").try_acquire().await;
    println!("a second owner gets it: {}", second.is_ok());
    guard.release().await?;
    println!("the lock had been held until it was released");
    Ok(())
}
