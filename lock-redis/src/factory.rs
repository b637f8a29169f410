//! The factory that makes this provider available to a registry.

use std::sync::Arc;

use async_trait::async_trait;
use lock_core::backend::{ProviderFactory, ProviderUrl};
use lock_core::{LockProvider, Result};

use crate::config::RedisConfig;
use crate::provider::RedisProvider;
use crate::redlock::RedlockConfig;

/// Returns the factory to register with a
/// [`ProviderRegistry`](lock_core::registry::ProviderRegistry).
///
/// It connects to the URLs that [`RedisConfig::from_url`] and [`RedlockConfig::from_url`] list.
///
/// # Examples
///
/// ```no_run
/// use lock_core::registry::ProviderRegistry;
///
/// # async fn example() -> lock_core::Result<()> {
/// let registry = ProviderRegistry::new().register(lock_redis::factory())?;
/// let locks = registry.connect("redis://db-1/?prefix=app:").await?;
/// # Ok(())
/// # }
/// ```
pub fn factory() -> RedisFactory {
    RedisFactory
}

/// Connects to Redis URLs; see [`factory`].
///
/// # Examples
///
/// ```
/// use lock_core::backend::ProviderFactory;
///
/// assert!(lock_redis::factory().schemes().contains(&"redis+sentinel"));
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisFactory;

#[async_trait]
impl ProviderFactory for RedisFactory {
    fn has_prefixes(&self) -> bool {
        true
    }

    fn schemes(&self) -> &[&str] {
        &[
            "redis",
            "rediss",
            "redis+unix",
            "redis+sentinel",
            "rediss+sentinel",
            "redis+cluster",
            "rediss+cluster",
            "redlock",
            "redlocks",
        ]
    }

    async fn connect(&self, url: &ProviderUrl) -> Result<Arc<dyn LockProvider>> {
        Ok(match url.scheme() {
            "redlock" | "redlocks" => Arc::new(RedlockConfig::from_url(url)?.connect().await?),
            _ => Arc::new(RedisProvider::connect(RedisConfig::from_url(url)?).await?),
        })
    }
}
