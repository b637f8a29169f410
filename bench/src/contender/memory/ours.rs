//! Our memory backend.

use std::time::Duration;

use anyhow::Result;
use lock_core::{LockClient, LockGuard};
use lock_memory::MemoryProvider;

use crate::contender::{Contender, Role};

const PATIENCE: Duration = Duration::from_secs(600);

pub(crate) struct OursInMemory {
    locks: LockClient,
    ttl: Duration,
}

impl Contender for OursInMemory {
    const NAME: &str = "ours (memory)";
    const ROLE: Role = Role::Ours;
    const PLAYS: &[&str] = &["s7", "s7b"];
    type Guard = LockGuard;

    async fn connect(_url: &str, ttl: Duration) -> Result<Self> {
        Ok(Self { locks: LockClient::new(MemoryProvider::new()), ttl })
    }

    async fn acquire(&self, key: &str) -> Result<LockGuard> {
        Ok(self.locks.lock(key).ttl(self.ttl).wait_at_most(PATIENCE).acquire().await?)
    }

    async fn release(&self, guard: LockGuard) -> Result<bool> {
        match guard.release().await {
            Ok(()) => Ok(true),
            Err(failed) if failed.is_lost() => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }

    fn fencing(guard: &LockGuard) -> Option<u64> {
        guard.fencing_token().map(|token| token.as_u64())
    }
}
