use std::sync::Arc;

use async_trait::async_trait;
use lock_core::{LockProvider, ProviderFactory, ProviderUrl, Result};

use crate::{RedisConfig, RedisProvider};

/// Makes the factory for `redis://`, `rediss://` and `redis+unix://` URLs, to be added to a
/// `ProviderRegistry`; [`RedisConfig::from_url`] lists the options.
pub fn factory() -> RedisFactory {
    RedisFactory
}

/// Connects to Redis URLs; see [`factory`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RedisFactory;

#[async_trait]
impl ProviderFactory for RedisFactory {
    fn schemes(&self) -> &[&str] {
        &["redis", "rediss", "redis+unix"]
    }

    async fn connect(&self, url: &ProviderUrl) -> Result<Arc<dyn LockProvider>> {
        Ok(Arc::new(RedisProvider::connect(RedisConfig::from_url(url)?).await?))
    }
}
