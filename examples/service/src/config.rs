//! The configuration: a file, and the environment variables that override it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lock_core::registry::{LocksConfig, ProviderRegistry};
use lock_core::{Capability, LockClient};
use serde::Deserialize;

use crate::metrics::Metrics;

/// What the service needs to start.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    pub(crate) address: String,
    pub(crate) database: PathBuf,
    pub(crate) locks: LocksConfig,
}

impl Config {
    /// Reads a file, and lets `SERVICE_ADDRESS`, `SERVICE_DATABASE` and `LOCK_…` override it.
    pub(crate) fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        // The whole error would repeat a line of the file, which may have a password in it.
        let parsed = toml::from_str(&std::fs::read_to_string(file)?);
        let mut config: Self = parsed.map_err(|error| error.message().to_owned())?;
        config.locks = config.locks.with_env()?;
        if let Ok(address) = std::env::var("SERVICE_ADDRESS") {
            config.address = address;
        }
        if let Ok(database) = std::env::var("SERVICE_DATABASE") {
            config.database = database.into();
        }
        Ok(config)
    }

    /// Connects to the store of the locks. Everything that can be wrong is found here.
    pub(crate) async fn connect(&self, metrics: &Arc<Metrics>) -> lock_core::Result<LockClient> {
        let registry = ProviderRegistry::new()
            .register(lock_memory::factory())?
            .register(lock_redis::factory())?;
        // The ledger needs fencing tokens, so a store without them is refused.
        let set_up = |_: &str, client: lock_core::ClientBuilder| {
            client.observer(Arc::clone(metrics)).require([Capability::Fencing])
        };
        let clients = registry.connect_all_with(&self.locks, set_up).await?;
        clients.default_client().cloned()
    }
}
