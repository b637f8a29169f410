//! `distributed-lock`. It does not wait for a key in Redis: `acquire`, with or without a timeout,
//! returns at once if the key is held. Therefore the caller polls, with pauses of up to 100 ms. The
//! library always renews, the first time when it acquires.

use std::time::Duration;

use anyhow::Result;
use distributed_lock_core::traits::{DistributedLock as _, LockHandle, LockProvider};
use distributed_lock_redis::{RedisLockHandle, RedisLockProvider};

use super::{Contender, ON_ANY, Role};

/// The pauses are random, so that the callers do not poll in step.
const LONGEST_PAUSE_MS: u64 = 100;

pub(crate) struct DistributedLock(RedisLockProvider);

impl Contender for DistributedLock {
    const NAME: &str = "distributed-lock";
    const ROLE: Role = Role::Rival;
    const PLAYS: &[&str] = ON_ANY;
    type Guard = RedisLockHandle;

    /// Keeps the proportions of the defaults: a ttl of 30 s, renewed every 10 s, with at least 27 s
    /// left.
    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        let provider = RedisLockProvider::builder()
            .urls(&url.split(',').collect::<Vec<_>>())
            .expiry(ttl)
            .extension_cadence(ttl / 3)
            .min_validity(ttl * 9 / 10);
        Ok(Self(provider.build().await?))
    }

    async fn acquire(&self, key: &str) -> Result<RedisLockHandle> {
        let lock = self.0.create_lock(key);
        loop {
            if let Some(handle) = lock.try_acquire().await? {
                return Ok(handle);
            }
            tokio::time::sleep(Duration::from_millis(fastrand::u64(..LONGEST_PAUSE_MS))).await;
        }
    }

    /// Returns what the handle reported before the release, because the release reports nothing.
    async fn release(&self, handle: RedisLockHandle) -> Result<bool> {
        let lost = *handle.lost_token().borrow();
        handle.release().await?;
        Ok(!lost)
    }
}
