//! Environment variables, which override a configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::{LocksConfig, ProviderConfig};
use crate::error::{Error, Result};

/// The settings of a provider, as the last words of their variables.
const SETTINGS: [&str; 3] = ["url", "ttl", "wait"];

impl LocksConfig {
    /// Reads the environment variables of the process, as [`with_env`](LocksConfig::with_env) does.
    ///
    /// # Errors
    ///
    /// As [`with_vars`](LocksConfig::with_vars).
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
        Self::new().with_env()
    }

    /// Reads the given variables as [`from_env`](LocksConfig::from_env) does.
    ///
    /// # Errors
    ///
    /// As [`with_vars`](LocksConfig::with_vars).
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
        Self::new().with_vars(vars)
    }

    /// Overrides the configuration with the environment variables of the process.
    ///
    /// | variable | effect |
    /// |---|---|
    /// | `LOCK_<NAME>_URL` | sets the URL of a provider, or adds it; its name is `<NAME>` in lower case |
    /// | `LOCK_<NAME>_TTL`, such as `30s` | sets the default ttl of a provider |
    /// | `LOCK_<NAME>_WAIT`, such as `5s` | sets how long its acquisitions wait |
    /// | `LOCK_DEFAULT` | sets the default provider |
    /// | any other `LOCK_<NAME>_…` of a provider | is refused |
    /// | any other variable, even if it begins with `LOCK_` | is ignored |
    ///
    /// Kubernetes adds variables such as `LOCK_JOBS_PORT` to every container if there is a service
    /// named `lock-jobs`. If a provider is named `jobs`, they are refused. To prevent this, set
    /// `enableServiceLinks: false` in the pod.
    ///
    /// # Errors
    ///
    /// As [`with_vars`](LocksConfig::with_vars), and
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) when a URL is not valid Unicode.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::{LocksConfig, ProviderConfig};
    ///
    /// // From a file, for instance. LOCK_JOBS_URL=redis://localhost overrides it.
    /// let config = LocksConfig::new().with("jobs", ProviderConfig::new("memory://"));
    /// let config = config.with_env()?;
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn with_env(self) -> Result<Self> {
        let mut vars = Vec::new();
        for (name, value) in std::env::vars_os() {
            // The names of our variables are text.
            let Ok(name) = name.into_string() else { continue };
            if value.to_str().is_none() && name.starts_with("LOCK_") && name.ends_with("_URL") {
                let message = format!("the environment variable {name} is not valid Unicode");
                return Err(Error::misconfigured(message));
            }
            vars.push((name, value.to_string_lossy().into_owned()));
        }
        self.with_vars(vars)
    }

    /// Overrides the configuration with the given variables, as
    /// [`with_env`](LocksConfig::with_env) does.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured):
    ///
    /// | when | the message has |
    /// |---|---|
    /// | a variable of a provider is unknown | the known ones |
    /// | a variable is given twice, in different case | its name |
    /// | a ttl or wait is not a time | its name |
    /// | the result does not pass [`check`](LocksConfig::check) | what is wrong |
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::registry::{LocksConfig, ProviderConfig};
    /// use std::time::Duration;
    ///
    /// let file = LocksConfig::new().with("jobs", ProviderConfig::new("memory://"));
    /// let config = file.clone().with_vars([("LOCK_JOBS_TTL", "2m")])?;
    /// let jobs = config.get("jobs").unwrap();
    /// assert_eq!((jobs.url(), jobs.ttl()), ("memory://", Some(Duration::from_secs(120))));
    ///
    /// let wrong = file.with_vars([("LOCK_JOBS_TLL", "2m")]).unwrap_err();
    /// assert!(wrong.to_string().contains("known are: LOCK_JOBS_URL, LOCK_JOBS_TTL"));
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn with_vars<N, V>(mut self, vars: impl IntoIterator<Item = (N, V)>) -> Result<Self>
    where
        N: AsRef<str>,
        V: Into<String>,
    {
        let ours = ours(vars);
        // URLs come first, because they name the providers that the others belong to.
        for (variable, values) in &ours {
            if let Some(name) = variable.strip_suffix("_url").filter(|name| !name.is_empty()) {
                let url = one(variable, values)?;
                let entry = self.providers.entry(name.to_owned());
                entry.or_insert_with(|| ProviderConfig::new("")).url.clone_from(url);
            }
        }
        for (variable, values) in &ours {
            if variable == "default" {
                self.default = Some(one(variable, values)?.to_lowercase());
            } else {
                self.set(variable, values)?;
            }
        }
        self.check()?;
        Ok(self)
    }

    /// Applies a variable, if it belongs to a provider. If the names of two providers fit, it
    /// belongs to the one with the longer name.
    fn set(&mut self, variable: &str, values: &[String]) -> Result<()> {
        let of_provider = |name: &String| {
            let setting = variable.strip_prefix(name.as_str())?.strip_prefix('_')?;
            Some((name.clone(), setting))
        };
        let fitting = self.providers.keys().filter_map(of_provider);
        let Some((name, setting)) = fitting.max_by_key(|(name, _)| name.len()) else {
            return Ok(());
        };
        let Some(provider) = self.providers.get_mut(&name) else { return Ok(()) };
        match setting {
            "url" => {}
            "ttl" => provider.ttl = Some(time(variable, values)?),
            "wait" => provider.wait = Some(time(variable, values)?),
            _ => {
                let known = SETTINGS.map(|setting| shown(&format!("{name}_{setting}"))).join(", ");
                return Err(Error::misconfigured(format!(
                    "unknown environment variable {}; known are: {known}",
                    shown(variable)
                )));
            }
        }
        Ok(())
    }
}

/// Selects the variables that begin with `LOCK_`, removes that prefix, and converts the rest to
/// lower case. Variables that differ only in case become several values of one.
fn ours<N, V>(vars: impl IntoIterator<Item = (N, V)>) -> BTreeMap<String, Vec<String>>
where
    N: AsRef<str>,
    V: Into<String>,
{
    let mut ours = BTreeMap::<_, Vec<_>>::new();
    for (variable, value) in vars {
        if let Some(rest) = variable.as_ref().strip_prefix("LOCK_") {
            ours.entry(rest.to_lowercase()).or_default().push(value.into());
        }
    }
    ours
}

fn one<'a>(variable: &str, values: &'a [String]) -> Result<&'a String> {
    match values {
        [value] => Ok(value),
        _ => Err(Error::misconfigured(format!(
            "the environment variable {} is given twice, in different case; remove one",
            shown(variable)
        ))),
    }
}

fn time(variable: &str, values: &[String]) -> Result<Duration> {
    humantime::parse_duration(one(variable, values)?).map_err(|source| {
        let variable = shown(variable);
        let message = format!("the environment variable {variable} is not a time such as `30s`");
        Error::misconfigured(message).with_source(source)
    })
}

fn shown(variable: &str) -> String {
    format!("LOCK_{}", variable.to_uppercase())
}
