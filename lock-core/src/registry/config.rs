//! The configuration of an application: named providers, and which of them is the default.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::backend::listed;
use crate::client::ClientBuilder;
use crate::error::{Error, Result};

/// Names the providers of an application, and which of them is the default.
///
/// With the feature `serde` it deserialises from TOML, JSON and other formats. Unknown fields are
/// refused. Times are text such as `"30s"` or `"2m"`.
///
/// **The error of a parser may repeat a line of the file**, including the password of a URL. Show
/// only its message, for instance that of `toml::de::Error::message`.
///
/// ```toml
/// default = "jobs"
///
/// [providers.jobs]
/// url = "redis://localhost/?prefix=jobs:"
/// ttl = "30s"
///
/// [providers.scratch]
/// url = "memory://"
/// wait = "2s"
/// ```
///
/// # Examples
///
/// ```
/// use lock_core::registry::LocksConfig;
///
/// let vars = [("LOCK_JOBS_URL", "memory://"), ("LOCK_DEFAULT", "jobs"), ("HOME", "/root")];
/// let config = LocksConfig::from_vars(vars)?;
/// assert_eq!(config.names().collect::<Vec<_>>(), ["jobs"]);
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct LocksConfig {
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) default: Option<String>,
    #[cfg_attr(feature = "serde", serde(default))]
    pub(super) providers: BTreeMap<String, ProviderConfig>,
}

impl LocksConfig {
    /// Makes a configuration without providers.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::{LocksConfig, ProviderConfig};
    ///
    /// let config = LocksConfig::new().with("jobs", ProviderConfig::new("memory://"));
    /// assert!(config.names().eq(["jobs"]));
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a provider, or replaces the provider of that name.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::{LocksConfig, ProviderConfig};
    ///
    /// let config = LocksConfig::new()
    ///     .with("jobs", ProviderConfig::new("memory://jobs"))
    ///     .with("cache", ProviderConfig::new("memory://cache"));
    /// assert!(config.names().eq(["cache", "jobs"]));
    /// ```
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, provider: ProviderConfig) -> Self {
        self.providers.insert(name.into(), provider);
        self
    }

    /// Sets the default provider.
    ///
    /// A single provider is the default without this.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::{LocksConfig, ProviderConfig};
    ///
    /// let config = LocksConfig::new()
    ///     .with("jobs", ProviderConfig::new("memory://jobs"))
    ///     .with("cache", ProviderConfig::new("memory://cache"))
    ///     .with_default("jobs");
    /// ```
    #[must_use]
    pub fn with_default(mut self, name: impl Into<String>) -> Self {
        self.default = Some(name.into());
        self
    }

    /// Lists the names of the providers, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str)
    }

    /// Returns a provider's configuration.
    pub fn get(&self, name: &str) -> Option<&ProviderConfig> {
        self.providers.get(name)
    }

    /// Lists the providers, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ProviderConfig)> {
        self.providers.iter().map(|(name, provider)| (name.as_str(), provider))
    }

    /// Returns the name of the default provider. A single provider is the default by itself.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::{LocksConfig, ProviderConfig};
    ///
    /// let config = LocksConfig::new().with("jobs", ProviderConfig::new("memory://"));
    /// assert_eq!(config.default_name(), Some("jobs"));
    /// ```
    pub fn default_name(&self) -> Option<&str> {
        let single = self.names().next().filter(|_| self.providers.len() == 1);
        self.default.as_deref().or(single)
    }

    /// Checks names, URLs and the default.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured), with the name of the provider:
    ///
    /// | what | rule |
    /// |---|---|
    /// | a name | lower-case letters, digits and `_` |
    /// | a URL | not empty |
    /// | the default | the name of a provider |
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::{LocksConfig, ProviderConfig};
    ///
    /// let config = LocksConfig::new().with("jobs", ProviderConfig::new(""));
    /// assert!(config.check().unwrap_err().to_string().starts_with("the URL of `jobs` is empty"));
    /// ```
    pub fn check(&self) -> Result<()> {
        for (name, provider) in &self.providers {
            check_name(name)?;
            if provider.url.trim().is_empty() {
                return Err(Error::misconfigured(format!(
                    "the URL of `{name}` is empty; write one such as `redis://host`, or remove the \
                     provider"
                )));
            }
        }
        match self.default_name() {
            Some(name) if !self.providers.contains_key(name) => {
                Err(unknown_name(name, self.providers.keys()))
            }
            _ => Ok(()),
        }
    }
}

fn check_name(name: &str) -> Result<()> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if !name.is_empty() && name.bytes().all(fits) {
        return Ok(());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let shown = if name.chars().all(plain) { name } else { "…" };
    Err(Error::misconfigured(format!(
        "`{shown}` cannot name a provider; use lower-case letters, digits and `_`"
    )))
}

/// Configures one provider: its URL, and the defaults of its client.
///
/// # Examples
///
/// ```
/// use lock_core::registry::ProviderConfig;
/// use std::time::Duration;
///
/// let jobs = ProviderConfig::new("redis://app:s3cret@localhost/")
///     .with_ttl(Duration::from_secs(30))
///     .with_wait(Duration::from_secs(5));
/// assert!(!format!("{jobs:?}").contains("s3cret"));
/// ```
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct ProviderConfig {
    pub(super) url: String,
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "time"))]
    pub(super) ttl: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "time"))]
    pub(super) wait: Option<Duration>,
}

impl ProviderConfig {
    /// Makes a configuration from the URL of the store.
    ///
    /// The URL is parsed when the [registry](crate::registry::ProviderRegistry) connects.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::{LocksConfig, ProviderConfig};
    ///
    /// let config = LocksConfig::new().with("jobs", ProviderConfig::new("memory://"));
    /// assert!(config.names().eq(["jobs"]));
    /// ```
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), ttl: None, wait: None }
    }

    /// Sets the default ttl of the client.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::ProviderConfig;
    /// use std::time::Duration;
    ///
    /// let jobs = ProviderConfig::new("memory://").with_ttl(Duration::from_secs(10));
    /// # let _ = jobs;
    /// ```
    #[must_use]
    pub fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = Some(ttl);
        self
    }

    /// Sets how long acquisitions of the client wait by default.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::ProviderConfig;
    /// use std::time::Duration;
    ///
    /// let jobs = ProviderConfig::new("memory://").with_wait(Duration::from_secs(5));
    /// # let _ = jobs;
    /// ```
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Returns the URL. **It may contain a password.**
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the default ttl, if one is set.
    pub fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    /// Returns how long acquisitions wait by default, if it is set.
    pub fn wait(&self) -> Option<Duration> {
        self.wait
    }

    pub(super) fn apply(&self, mut builder: ClientBuilder) -> ClientBuilder {
        if let Some(ttl) = self.ttl {
            builder = builder.ttl(ttl);
        }
        if let Some(wait) = self.wait {
            builder = builder.wait_at_most(wait);
        }
        builder
    }
}

impl fmt::Debug for ProviderConfig {
    /// Leaves out the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("ProviderConfig");
        shown.field("ttl", &self.ttl).field("wait", &self.wait).finish_non_exhaustive()
    }
}

#[cfg(feature = "serde")]
fn time<'de, D: serde::Deserializer<'de>>(source: D) -> Result<Option<Duration>, D::Error> {
    let text = <String as serde::Deserialize>::deserialize(source)?;
    humantime::parse_duration(&text).map(Some).map_err(serde::de::Error::custom)
}

pub(super) fn unknown_name<'a>(name: &str, known: impl Iterator<Item = &'a String>) -> Error {
    // Only what looks like a name is repeated, because it may be a URL with a password.
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let shown = if name.chars().all(plain) { name } else { "…" };
    Error::misconfigured(format!("no provider is named `{shown}`; known are: {}", listed(known)))
}
