//! A map with a `tokio::sync::Mutex` per key: what one writes without a crate. Keys are never
//! removed.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Result;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::contender::{Contender, Role};

#[derive(Default)]
pub(crate) struct MutexMap(std::sync::Mutex<HashMap<String, Arc<Mutex<()>>>>);

impl Contender for MutexMap {
    const NAME: &str = "mutex in a map";
    const ROLE: Role = Role::Floor;
    const PLAYS: &[&str] = &["s7", "s7b"];
    type Guard = OwnedMutexGuard<()>;

    async fn connect(_url: &str, _ttl: Duration) -> Result<Self> {
        Ok(Self::default())
    }

    async fn acquire(&self, key: &str) -> Result<Self::Guard> {
        let mutex = {
            let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            match keys.get(key) {
                Some(mutex) => Arc::clone(mutex),
                None => Arc::clone(keys.entry(key.to_owned()).or_default()),
            }
        };
        Ok(mutex.lock_owned().await)
    }

    async fn release(&self, guard: Self::Guard) -> Result<bool> {
        drop(guard);
        Ok(true)
    }
}
