//! `distributed-lock`. It does not wait for a key in Redis: `acquire`, with or without a time-out,
//! returns at once when the key is held. So the caller polls, here with pauses of up to 100 ms. It
//! always renews, for the first time when it acquires.

use std::time::Duration;

use anyhow::Result;
use distributed_lock_core::traits::{DistributedLock as _, LockHandle, LockProvider};
use distributed_lock_redis::{RedisLockHandle, RedisLockProvider};

use super::{Contender, ON_ANY, Role};

/// Varied, so that callers are not in step.
const LONGEST_PAUSE_MS: u64 = 100;

pub(crate) struct DistributedLock(RedisLockProvider);

impl Contender for DistributedLock {
    const NAME: &str = "distributed-lock";
    const ROLE: Role = Role::Rival;
    const PLAYS: &[&str] = ON_ANY;
    type Guard = RedisLockHandle;

    /// Keeps the proportions of its defaults: 30 s, renewed every 10 s, 27 s of which must be left.
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

    /// Tells what the handle knew before, as the release itself does not tell.
    async fn release(&self, handle: RedisLockHandle) -> Result<bool> {
        let lost = *handle.lost_token().borrow();
        handle.release().await?;
        Ok(!lost)
    }
}
