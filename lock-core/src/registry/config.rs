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
/// refused.
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

    /// Reads the environment variables of the process.
    ///
    /// | variable | effect |
    /// |---|---|
    /// | `LOCK_<NAME>_URL` | adds a provider; its name is `<NAME>` in lower case |
    /// | `LOCK_DEFAULT` | sets the default provider |
    ///
    /// # Errors
    ///
    /// As [`from_vars`](LocksConfig::from_vars).
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::LocksConfig;
    ///
    /// // LOCK_JOBS_URL=redis://localhost LOCK_DEFAULT=jobs
    /// let config = LocksConfig::from_env()?;
    /// println!("{:?}", config.names().collect::<Vec<_>>());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn from_env() -> Result<Self> {
        // Names and URLs are text, so a variable that is not Unicode is not one of ours.
        let text = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Self::from_vars(text)
    }

    /// Reads the given variables as [`from_env`](LocksConfig::from_env) does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) when two variables name the
    /// same provider, or when no provider has the name of the default.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::LocksConfig;
    ///
    /// let config = LocksConfig::from_vars([("LOCK_JOBS_URL", "memory://")])?;
    /// assert!(config.names().eq(["jobs"]));
    ///
    /// let wrong = LocksConfig::from_vars([("LOCK_DEFAULT", "jobs")]).unwrap_err();
    /// assert_eq!(wrong.to_string(), "no provider is named `jobs`; known are: none");
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn from_vars<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        let mut config = Self::new();
        for (variable, value) in vars {
            let Some(rest) = variable.as_ref().strip_prefix("LOCK_") else { continue };
            if rest == "DEFAULT" {
                config.default = Some(value.into().to_lowercase());
            } else if let Some(name) = rest.strip_suffix("_URL").filter(|name| !name.is_empty()) {
                let name = name.to_lowercase();
                let entry = ProviderConfig::new(value);
                if config.providers.insert(name.clone(), entry).is_some() {
                    return Err(Error::misconfigured(format!(
                        "two environment variables name the provider `{name}`; remove one, as \
                         names ignore case"
                    )));
                }
            }
        }
        config.checked_default()?;
        Ok(config)
    }

    /// Lists the names of the providers, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.providers.keys().map(String::as_str)
    }

    /// Returns the name of the default, which a single provider is by itself.
    pub(super) fn checked_default(&self) -> Result<Option<String>> {
        match &self.default {
            Some(name) if !self.providers.contains_key(name) => {
                Err(unknown_name(name, self.providers.keys()))
            }
            Some(name) => Ok(Some(name.clone())),
            None if self.providers.len() == 1 => Ok(self.providers.keys().next().cloned()),
            None => Ok(None),
        }
    }
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
///     .ttl(Duration::from_secs(30))
///     .wait_at_most(Duration::from_secs(5));
/// assert!(!format!("{jobs:?}").contains("s3cret"));
/// ```
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(deny_unknown_fields))]
pub struct ProviderConfig {
    url: String,
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "time"))]
    ttl: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(default, deserialize_with = "time"))]
    wait: Option<Duration>,
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
    /// let jobs = ProviderConfig::new("memory://").ttl(Duration::from_secs(10));
    /// # let _ = jobs;
    /// ```
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
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
    /// let jobs = ProviderConfig::new("memory://").wait_at_most(Duration::from_secs(5));
    /// # let _ = jobs;
    /// ```
    #[must_use]
    pub fn wait_at_most(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    pub(super) fn url(&self) -> &str {
        &self.url
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
    Error::misconfigured(format!("no provider is named `{name}`; known are: {}", listed(known)))
}
