//! `rslock`, with its defaults: `acquire` tries forever, after pauses of up to 200 ms.

use std::time::Duration;

use anyhow::Result;
use rslock::{LockGuard, LockManager};

use super::{Contender, ON_ANY, Role};

pub(crate) struct Rslock {
    manager: LockManager,
    ttl: Duration,
}

impl Contender for Rslock {
    const NAME: &str = "rslock";
    const ROLE: Role = Role::Rival;
    const PLAYS: &[&str] = ON_ANY;
    type Guard = LockGuard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        Ok(Self { manager: LockManager::new(url.split(',').collect()), ttl })
    }

    async fn acquire(&self, key: &str) -> Result<LockGuard> {
        Ok(self.manager.acquire(key.as_bytes(), self.ttl).await?)
    }

    async fn release(&self, guard: LockGuard) -> Result<bool> {
        guard.release().await; // It does not report whether the lock was still held.
        Ok(true)
    }
}
