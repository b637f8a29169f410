//! Providers that an application chooses by name or URL at start-up.

mod config;
mod env;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use self::config::unknown_name;
pub use self::config::{LocksConfig, ProviderConfig};

use crate::backend::{LockProvider, Prefixed, ProviderFactory, ProviderUrl, listed};
use crate::client::{ClientBuilder, LockClient};
use crate::error::{Error, Operation, Result};

/// Connects to stores by URL, with the factories that the application registers.
///
/// It is a value that the application builds. There is no global registry.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use lock_core::registry::ProviderRegistry;
///
/// let registry = ProviderRegistry::new().register(lock_memory::factory())?;
/// let locks = registry.connect("memory://").await?;
/// let guard = locks.lock("invoice/42").acquire().await?;
/// guard.release().await?;
///
/// let unknown = registry.connect("memroy://").await.unwrap_err();
/// assert!(unknown.to_string().contains("no provider for the scheme `memroy`; known are: memory"));
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
pub struct ProviderRegistry {
    factories: BTreeMap<String, Arc<dyn ProviderFactory>>,
}

impl ProviderRegistry {
    /// Makes an empty registry.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::ProviderRegistry;
    ///
    /// assert_eq!(ProviderRegistry::new().schemes().count(), 0);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the factory of a backend.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) when one of its schemes is
    /// registered already. Use [`replacing`](ProviderRegistry::replacing) to replace its factory.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::ProviderRegistry;
    ///
    /// let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// let twice = registry.register(lock_memory::factory());
    /// assert!(twice.unwrap_err().to_string().contains("the scheme `memory` is registered twice"));
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn register(mut self, factory: impl ProviderFactory) -> Result<Self> {
        let factory: Arc<dyn ProviderFactory> = Arc::new(factory);
        for scheme in factory.schemes() {
            if let Some(other) = self.factories.insert((*scheme).into(), Arc::clone(&factory)) {
                return Err(Error::misconfigured(format!(
                    "the scheme `{scheme}` is registered twice, by {other:?} and {factory:?}; use \
                     `replacing` to replace the first"
                )));
            }
        }
        Ok(self)
    }

    /// Adds the factory of a backend, and replaces those that serve its schemes.
    ///
    /// Use it in tests, to replace the store of the application with a fake.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::ProviderRegistry;
    ///
    /// let shared = lock_memory::factory(); // in a test, instead of the application's store
    /// let registry = ProviderRegistry::new().register(lock_memory::factory())?.replacing(shared);
    /// assert_eq!(registry.schemes().count(), 1);
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn replacing(mut self, factory: impl ProviderFactory) -> Self {
        let factory: Arc<dyn ProviderFactory> = Arc::new(factory);
        for scheme in factory.schemes() {
            self.factories.insert((*scheme).into(), Arc::clone(&factory));
        }
        self
    }

    /// Lists the registered schemes, sorted.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::ProviderRegistry;
    ///
    /// let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// assert!(registry.schemes().eq(["memory"]));
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }

    /// Connects to the store that a URL names, and returns a client with the default settings.
    ///
    /// For other settings, pass the [`provider`](ProviderRegistry::provider) to a
    /// [`LockClient::builder`].
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) | the URL is malformed, or its scheme or an option is unknown; the message lists the known ones |
    /// | [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) | the store does not support the [default ttl](LockClient::DEFAULT_TTL) |
    /// | any other | the factory failed to connect |
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes every connection that it has opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::ProviderRegistry;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// let locks = registry.connect("memory://").await?;
    /// locks.lock("invoice/42").acquire().await?.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(&self, url: &str) -> Result<LockClient> {
        let url = ProviderUrl::parse(url)?;
        let client = ClientBuilder::new(self.provider_of(&url).await?).build();
        client.map_err(|error| connecting(&url, error))
    }

    /// Connects to the store that a URL names, and returns its provider, for a
    /// [`LockClient::builder`].
    ///
    /// # Errors
    ///
    /// As [`connect`](ProviderRegistry::connect), except that no ttl is checked.
    ///
    /// # Cancel safety
    ///
    /// As [`connect`](ProviderRegistry::connect).
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::ProviderRegistry;
    /// use lock_core::{Capability, LockClient};
    /// use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// let provider = registry.provider("memory://").await?;
    /// let locks = LockClient::builder(provider)
    ///     .require([Capability::Fencing])
    ///     .ttl(Duration::from_secs(10))
    ///     .build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn provider(&self, url: &str) -> Result<Arc<dyn LockProvider>> {
        self.provider_of(&ProviderUrl::parse(url)?).await
    }

    async fn provider_of(&self, url: &ProviderUrl) -> Result<Arc<dyn LockProvider>> {
        let Some(factory) = self.factories.get(url.scheme()) else {
            return Err(Error::misconfigured(format!(
                "no provider for the scheme `{}`; known are: {}",
                url.scheme(),
                listed(self.schemes())
            )));
        };
        let connected = if factory.has_prefixes() {
            factory.connect(url).await
        } else {
            connect_prefixed(&**factory, url).await
        };
        connected.map_err(|error| connecting(url, error))
    }

    /// Connects to every provider of a configuration.
    ///
    /// An invalid provider is therefore found at start-up.
    ///
    /// # Errors
    ///
    /// Those of [`connect`](ProviderRegistry::connect), with the name of the provider in the
    /// message, and those of [`LocksConfig::check`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes every connection that it has opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::{LocksConfig, ProviderRegistry};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let config = LocksConfig::from_vars([("LOCK_JOBS_URL", "memory://")])?;
    /// let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// let clients = registry.connect_all(&config).await?;
    /// clients.get("jobs")?.lock("invoice/42").acquire().await?.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_all(&self, config: &LocksConfig) -> Result<Clients> {
        self.connect_all_with(config, |_, builder| builder).await
    }

    /// Connects to every provider of a configuration, and lets the application set up each client.
    ///
    /// `set_up` gets the name of a provider and the builder of its client. The builder has the
    /// settings of the configuration already.
    ///
    /// # Errors
    ///
    /// As [`connect_all`](ProviderRegistry::connect_all).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes every connection that it has opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Fairness;
    /// use lock_core::observe::{Event, Observer};
    /// use lock_core::registry::{LocksConfig, ProviderRegistry};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// #[derive(Debug)]
    /// struct Print;
    ///
    /// impl Observer for Print {
    ///     fn on_event(&self, event: &Event) {
    ///         println!("{:?} {} {}", event.client(), event.key(), event.kind().name());
    ///     }
    /// }
    ///
    /// let config = LocksConfig::from_vars([("LOCK_JOBS_URL", "memory://")])?;
    /// let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// let clients = registry.connect_all_with(&config, |name, builder| match name {
    ///     "jobs" => builder.observer(Print).fairness(Fairness::Fifo),
    ///     _ => builder.observer(Print),
    /// });
    /// assert_eq!(clients.await?.get("jobs")?.name(), Some("jobs"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect_all_with(
        &self,
        config: &LocksConfig,
        mut set_up: impl FnMut(&str, ClientBuilder) -> ClientBuilder,
    ) -> Result<Clients> {
        config.check()?;
        let mut clients = BTreeMap::new();
        for (name, entry) in config.iter() {
            let connected = self.provider(entry.url()).await.and_then(|provider| {
                let builder = entry.apply(ClientBuilder::new(provider)).name(name);
                set_up(name, builder).build()
            });
            let client = connected.map_err(|error| {
                let message = format!("the provider named `{name}` cannot be used");
                Error::new(error.kind(), message).with_source(error)
            })?;
            clients.insert(name.to_owned(), client);
        }
        Ok(Clients { clients, default: config.default_name().map(str::to_owned) })
    }
}

/// The clients of a configuration, by name.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// use lock_core::registry::{LocksConfig, ProviderConfig, ProviderRegistry};
///
/// let config = LocksConfig::new()
///     .with("jobs", ProviderConfig::new("memory://"))
///     .with("cache", ProviderConfig::new("memory://"))
///     .with_default("jobs");
/// let registry = ProviderRegistry::new().register(lock_memory::factory())?;
/// let clients = registry.connect_all(&config).await?;
/// clients.get("cache")?.lock("k").acquire().await?.release().await?;
/// let unknown = clients.get("jbos").unwrap_err();
/// assert!(unknown.to_string().contains("no provider is named `jbos`; known are: cache, jobs"));
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Clients {
    clients: BTreeMap<String, LockClient>,
    default: Option<String>,
}

impl Clients {
    /// Returns the client with this name.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) when there is no such client.
    /// The message lists the known names.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::registry::{LocksConfig, ProviderRegistry};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// let config = LocksConfig::from_vars([("LOCK_JOBS_URL", "memory://")])?;
    /// let clients = registry.connect_all(&config).await?;
    /// let jobs = clients.get("jobs")?;
    /// assert!(clients.get("jbos").unwrap_err().to_string().ends_with("known are: jobs"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn get(&self, name: &str) -> Result<&LockClient> {
        self.clients.get(name).ok_or_else(|| unknown_name(name, self.clients.keys()))
    }

    /// Returns the default client.
    ///
    /// A single client is the default by itself.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) unless there is a single
    /// client or a default.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::registry::{LocksConfig, ProviderRegistry};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// let config = LocksConfig::from_vars([("LOCK_JOBS_URL", "memory://")])?;
    /// let clients = registry.connect_all(&config).await?;
    /// let locks = clients.default_client()?; // the only one there is
    /// locks.lock("invoice/42").acquire().await?.release().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn default_client(&self) -> Result<&LockClient> {
        match &self.default {
            Some(name) => self.get(name),
            None => Err(Error::misconfigured(format!(
                "no default provider is configured; choose one of: {}",
                listed(self.clients.keys())
            ))),
        }
    }

    /// Lists the names, sorted.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::registry::{LocksConfig, ProviderRegistry};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// let config = LocksConfig::from_vars([("LOCK_JOBS_URL", "memory://")])?;
    /// let clients = registry.connect_all(&config).await?;
    /// assert!(clients.names().eq(["jobs"]));
    /// # Ok(())
    /// # }
    /// ```
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.clients.keys().map(String::as_str)
    }

    /// Lists the names and clients, sorted by name.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::registry::{LocksConfig, ProviderRegistry};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    /// let config = LocksConfig::from_vars([("LOCK_JOBS_URL", "memory://")])?;
    /// let clients = registry.connect_all(&config).await?;
    /// for (name, locks) in clients.iter() {
    ///     println!("{name}: {}", locks.capabilities());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (&str, &LockClient)> {
        self.clients.iter().map(|(name, client)| (name.as_str(), client))
    }
}

/// Connects to a store that has no prefixes of its own.
async fn connect_prefixed(
    factory: &dyn ProviderFactory,
    url: &ProviderUrl,
) -> Result<Arc<dyn LockProvider>> {
    let (url, prefix) = url.without("prefix")?;
    let provider = factory.connect(&url).await?;
    Ok(match prefix {
        Some(prefix) if !prefix.is_empty() => Arc::new(Prefixed::new(provider, prefix)?),
        _ => provider,
    })
}

fn connecting(url: &ProviderUrl, error: Error) -> Error {
    error.in_operation(Operation::Connect, None, &Arc::from(url.to_string()))
}
