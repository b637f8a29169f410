//! The crate `lockable`.

use std::time::Duration;

use anyhow::Result;
use lockable::LockPool;

use crate::contender::{Contender, Role};

/// Guards borrow the pool, so it is never freed.
pub(crate) struct Lockable(&'static LockPool<String>);

impl Contender for Lockable {
    const NAME: &str = "lockable";
    const ROLE: Role = Role::Rival;
    const PLAYS: &[&str] = &["s7", "s7b"];
    type Guard = <LockPool<String> as lockable::Lockable<String, ()>>::Guard<'static>;

    async fn connect(_url: &str, _ttl: Duration) -> Result<Self> {
        Ok(Self(Box::leak(Box::new(LockPool::new()))))
    }

    async fn acquire(&self, key: &str) -> Result<Self::Guard> {
        Ok(self.0.async_lock(key.to_owned()).await)
    }

    async fn release(&self, guard: Self::Guard) -> Result<bool> {
        drop(guard);
        Ok(true)
    }
}
