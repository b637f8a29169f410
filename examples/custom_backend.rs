//! A whole backend of one's own: the verbs over a map, a factory for its URLs, and the one line
//! that runs the conformance suite on it.
//!
//! ```sh
//! cargo run --example custom_backend
//! cargo test --example custom_backend     # is it a lock? the suite tells, within a minute or so
//! ```
//!
//! Waiting, retrying, renewing, noticing loss, undoing lost answers: all that is core's business.

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lock_core::{
    Attempt, Capabilities, Capability, Claim, Clock, Error, ErrorKind, FencingToken, Handover,
    Holder, Lock, LockKey, LockProvider, Moment, OwnerToken, ProviderFactory, ProviderInfo,
    ProviderRegistry, ProviderUrl, Release, Renewal, Result, SystemClock, Ttl, Watch, WatchKind,
};

/// The store: a stand-in for whatever you run.
#[derive(Debug, Default)]
struct Store {
    leases: HashMap<LockKey, Lease>,
    /// Owners that have released without holding, and until when they are remembered (law U1).
    tombstones: HashMap<OwnerToken, Moment>,
    grants: u64,
}

#[derive(Debug)]
struct Lease {
    claim: Claim,
    fencing: Option<FencingToken>,
    ends: Moment,
}

#[derive(Debug)]
struct MapProvider {
    info: ProviderInfo,
    store: Arc<Mutex<Store>>,
}

impl MapProvider {
    fn new() -> Self {
        use Capability::{Fencing, Inspect, Metadata, ServerClock};
        // What it declares, the suite demands. There are no hints: waiters ask again by and by.
        let capabilities = Capabilities::of([Fencing, Inspect, Metadata, ServerClock]);
        Self { info: ProviderInfo::new("map", capabilities), store: Arc::default() }
    }
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
    /// Opens the store as of now. The mutex makes each verb atomic; what has ended is gone.
    fn open(&self) -> (MutexGuard<'_, Store>, Moment) {
        let mut store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        let now = SystemClock.now();
        store.leases.retain(|_, lease| now < lease.ends);
        store.tombstones.retain(|_, until| now < *until);
        (store, now)
    }

    fn owns(&self, lease: &Lease) -> bool {
        lease.claim.owner() == self.claim.owner()
    }
}

#[async_trait]
impl Lock for MapLock {
    fn claim(&self) -> &Claim {
        &self.claim
    }

    async fn try_acquire(&self) -> Result<Attempt> {
        let (mut store, now) = self.open();
        if store.tombstones.contains_key(self.claim.owner()) {
            return Ok(Attempt::Undone);
        }
        let ends = now.after(self.claim.ttl().get());
        if let Some(lease) = store.leases.get_mut(self.claim.key()) {
            if !self.owns(lease) {
                return Ok(Attempt::Held { remaining: Some(lease.ends.since(now)) });
            }
            lease.ends = ends.max(lease.ends); // the same owner asks again (law E2)
            return Ok(Attempt::Granted { fencing: lease.fencing });
        }
        store.grants += 1;
        let fencing = FencingToken::new(store.grants);
        let lease = Lease { claim: self.claim.clone(), fencing, ends };
        store.leases.insert(self.claim.key().clone(), lease);
        Ok(Attempt::Granted { fencing })
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        let (mut store, now) = self.open();
        let ours = store.leases.get_mut(self.claim.key()).filter(|lease| self.owns(lease));
        Ok(ours.map_or(Renewal::Lost, |lease| {
            lease.ends = now.after(ttl.get());
            Renewal::Renewed { fencing: lease.fencing }
        }))
    }

    async fn release(&self) -> Result<Release> {
        let (mut store, now) = self.open();
        if store.leases.get(self.claim.key()).is_some_and(|lease| self.owns(lease)) {
            store.leases.remove(self.claim.key());
            return Ok(Release::Released);
        }
        store.tombstones.insert(*self.claim.owner(), now.after(Release::TOMBSTONE));
        Ok(Release::NotHeld)
    }

    async fn inspect(&self) -> Result<Option<Holder>> {
        let (store, now) = self.open();
        Ok(store.leases.get(self.claim.key()).map(|lease| {
            Holder::new(lease.claim.owner().fingerprint())
                .with_metadata(lease.claim.metadata().clone())
                .with_remaining(lease.ends.since(now))
                .with_fencing(lease.fencing)
        }))
    }

    async fn raise(&self, _fencing: FencingToken) -> Result<Option<FencingToken>> {
        Err(Error::new(ErrorKind::Unsupported, "tokens of this store cannot be raised"))
    }

    async fn hand_over(&self, _next: &Claim) -> Result<Option<Handover>> {
        Ok(None)
    }

    async fn watch(&self, _kind: WatchKind) -> Result<Option<Watch>> {
        Ok(None)
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
        url.options(&[])?; // refuses whatever it does not know
        if url.to_string() != "map://" {
            return Err(Error::new(ErrorKind::Misconfigured, "write `map://` and nothing else"));
        }
        Ok(Arc::new(MapProvider::new()))
    }
}

#[cfg(test)]
lock_testkit::conformance!(custom, || async { lock_testkit::Subject::new(MapProvider::new()) });

#[tokio::main]
async fn main() -> Result<()> {
    let locks = ProviderRegistry::new().with(MapFactory)?.connect("map://").await?;
    let guard = locks.lock("invoice/42").metadata("worker-7").acquire().await?;
    println!("holding {}", guard.key());
    if let Some(holder) = locks.inspect("invoice/42").await? {
        println!("the store says that {} holds it", holder.metadata());
    }
    let second = locks.lock("invoice/42").try_acquire().await?;
    println!("a second owner gets it: {}", second.is_some());
    println!("releasing it says: {:?}", guard.release().await?);
    Ok(())
}
