//! The builder of a configuration: servers, credentials and options.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

#[cfg(doc)]
use lock_core::ErrorKind;
use lock_core::Result;

use super::options::RedisOptions;
use super::set_up::{Sentinels, SetUp};
use crate::error::misconfigured;

/// Configures where the servers are, as whom to connect, and how to keep locks on them.
///
/// `Debug` shows no password.
///
/// # Examples
///
/// ```
/// use lock_redis::RedisConfig;
///
/// let config = RedisConfig::tcp("db-1", 6379).user("locks").password("s3cret").prefix("app:");
/// assert!(!format!("{config:?}").contains("s3cret"));
/// ```
#[derive(Clone)]
#[must_use = "a configuration does nothing until it is connected"]
pub struct RedisConfig {
    pub(super) set_up: SetUp,
    pub(super) over_tls: bool,
    pub(super) ca: Option<PathBuf>,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
    /// Takes precedence over the password. With it, the driver's client is made anew for each
    /// connection.
    pub(super) password_source: Option<Arc<dyn Fn() -> String + Send + Sync>>,
    pub(super) database: u32,
    pub(super) options: RedisOptions,
}

impl RedisConfig {
    fn at(set_up: SetUp) -> Self {
        let (over_tls, ca, user, password, password_source, options) = Default::default();
        Self { set_up, over_tls, ca, user, password, password_source, database: 0, options }
    }

    /// Names a server by host and port, without encryption.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tcp("db-1", 6379);
    /// ```
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::at(SetUp::Tcp { host: host.into(), port })
    }

    /// Names a server by host and port, [over TLS](Self::over_tls).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tls("db-1", 6380).user("locks").password("s3cret");
    /// ```
    pub fn tls(host: impl Into<String>, port: u16) -> Self {
        Self::tcp(host, port).over_tls()
    }

    /// Names a server by its unix socket.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::unix("/run/redis/redis.sock");
    /// ```
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::at(SetUp::Unix { path: path.as_ref().into() })
    }

    /// Names the master of a service by the sentinels that watch it. They are asked for the master
    /// whenever a connection is opened.
    ///
    /// Needs the feature `sentinel`; without it, connecting reports
    /// [`Unsupported`](ErrorKind::Unsupported).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let sentinels = ["s-1", "s-2", "s-3"].map(|host| (host, 26379));
    /// let config = RedisConfig::sentinel("main", sentinels).prefix("app:");
    /// ```
    pub fn sentinel<H: Into<String>>(
        service: impl Into<String>,
        sentinels: impl IntoIterator<Item = (H, u16)>,
    ) -> Self {
        let hosts = sentinels.into_iter().map(|(host, port)| (host.into(), port)).collect();
        let (user, password) = Default::default();
        Self::at(SetUp::Sentinel(Sentinels { service: service.into(), hosts, user, password }))
    }

    /// Names some nodes of a Redis Cluster, which report the others.
    ///
    /// Needs the feature `cluster`; without it, connecting reports
    /// [`Unsupported`](ErrorKind::Unsupported).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::cluster([("db-1", 6379), ("db-2", 6379)]).prefix("app:");
    /// ```
    pub fn cluster<H: Into<String>>(nodes: impl IntoIterator<Item = (H, u16)>) -> Self {
        let nodes = nodes.into_iter().map(|(host, port)| (host.into(), port)).collect();
        Self::at(SetUp::Cluster { nodes })
    }

    /// Authenticates with the sentinels as this user. Has no effect without sentinels.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::sentinel("main", [("s-1", 26379)])
    ///     .sentinel_user("observer")
    ///     .sentinel_password("0bserve");
    /// ```
    pub fn sentinel_user(mut self, user: impl Into<String>) -> Self {
        if let SetUp::Sentinel(sentinels) = &mut self.set_up {
            sentinels.user = Some(user.into());
        }
        self
    }

    /// Authenticates with the sentinels by this password. Has no effect without sentinels.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::sentinel("main", [("s-1", 26379)]).sentinel_password("0bserve");
    /// assert!(!format!("{config:?}").contains("0bserve"));
    /// ```
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        if let SetUp::Sentinel(sentinels) = &mut self.set_up {
            sentinels.password = Some(password.into());
        }
        self
    }

    /// Encrypts every connection over TCP and verifies the server's certificate. This includes the
    /// connections to sentinels.
    ///
    /// Needs the feature `tls`; without it, connecting reports
    /// [`Unsupported`](ErrorKind::Unsupported) and never falls back to plain text.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::cluster([("db-1", 6379)]).over_tls();
    /// ```
    pub fn over_tls(mut self) -> Self {
        self.over_tls = true;
        self
    }

    /// Verifies certificates by the roots in this PEM file instead of the system's. Has no effect
    /// without TLS.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tls("db-1", 6380).ca("/etc/ssl/our-roots.pem");
    /// ```
    pub fn ca(mut self, pem: impl AsRef<Path>) -> Self {
        self.ca = Some(pem.as_ref().into());
        self
    }

    /// Authenticates as this ACL user. A password is required as well.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tcp("db-1", 6379).user("locks").password("s3cret");
    /// ```
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Authenticates with this password.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tcp("db-1", 6379).password("s3cret");
    /// assert!(!format!("{config:?}").contains("s3cret"));
    /// ```
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Authenticates with the password that this function returns, for passwords that change while
    /// locks are held.
    ///
    /// The function is called whenever a connection is opened. Open connections stay authenticated.
    /// A cluster does not support this: connecting reports
    /// [`Misconfigured`](ErrorKind::Misconfigured).
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tcp("db-1", 6379)
    ///     .user("locks")
    ///     .password_from(|| std::fs::read_to_string("/run/secrets/redis").unwrap_or_default());
    /// ```
    pub fn password_from(mut self, source: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.password_source = Some(Arc::new(source));
        self
    }

    /// Selects a numbered database; a cluster has none.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tcp("db-1", 6379).database(3);
    /// ```
    pub fn database(mut self, number: u32) -> Self {
        self.database = number;
        self
    }

    /// Puts a prefix before every key; see [`RedisOptions::prefix`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// // The lock `invoice/42` is at the key `app:invoice/42`.
    /// let config = RedisConfig::tcp("db-1", 6379).prefix("app:");
    /// ```
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.options = self.options.prefix(prefix);
        self
    }

    /// Turns the checks of the server on or off; they are on by default. See
    /// [`RedisOptions::server_checks`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisConfig;
    /// // The version, role and eviction policy of this server were checked by hand.
    /// let config = RedisConfig::tcp("db-1", 6379).server_checks(false);
    /// ```
    pub fn server_checks(mut self, on: bool) -> Self {
        self.options = self.options.server_checks(on);
        self
    }

    /// Sets how long the last fencing token of a key is kept after its lease; see
    /// [`RedisOptions::fencing_ttl`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tcp("db-1", 6379).fencing_ttl(Duration::from_secs(24 * 60 * 60));
    /// ```
    pub fn fencing_ttl(mut self, time: Duration) -> Self {
        self.options = self.options.fencing_ttl(time);
        self
    }

    /// Trusts a grant only once `count` replicas have it; see [`RedisOptions::replicas`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tcp("db-1", 6379).replicas(1, Duration::from_millis(100));
    /// ```
    pub fn replicas(mut self, count: u32, limit: Duration) -> Self {
        self.options = self.options.replicas(count, limit);
        self
    }

    /// Sets how long opening a connection may take.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lock_redis::RedisConfig;
    /// let config = RedisConfig::tcp("db-1", 6379).connect_timeout(Duration::from_millis(500));
    /// ```
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.options = self.options.connect_timeout(limit);
        self
    }

    /// Refuses settings that would silently mean something else.
    pub(super) fn check(&self) -> Result<()> {
        self.options.check()?;
        let nameless = self.user.is_some() && self.password.is_none();
        if nameless && self.password_source.is_none() {
            return misconfigured(
                "the user has no password, so the driver would connect as the user `default`; name \
                 the password as well",
            );
        }
        match &self.set_up {
            SetUp::Sentinel(Sentinels { user: Some(_), password: None, .. }) => misconfigured(
                "the user of the sentinels has no password; name the password as well",
            ),
            SetUp::Cluster { .. } if self.database != 0 => {
                misconfigured("a cluster has no numbered databases; leave `database` out")
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn options(&self) -> &RedisOptions {
        &self.options
    }

    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.set_up, SetUp::Cluster { .. })
    }

    /// Whether sentinels name the server, so that a later connection may go to another one.
    pub(crate) fn has_sentinels(&self) -> bool {
        matches!(self.set_up, SetUp::Sentinel(_))
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("set_up", &self.set_up)
            .field("over_tls", &self.over_tls)
            .field("ca", &self.ca)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("password_source", &self.password_source.as_ref().map(|_| "…"))
            .field("database", &self.database)
            .field("options", &self.options)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_would_silently_mean_something_else_are_refused() {
        let why = |config: RedisConfig| config.lasting_client().err().unwrap().to_string();
        let here = || RedisConfig::tcp("h", 1);
        assert!(why(here().user("locks")).contains("name the password as well"));
        assert!(why(here().connect_timeout(Duration::ZERO)).contains("`connect_timeout` is zero"));
        assert!(why(here().fencing_ttl(Duration::ZERO)).contains("keep tokens for 60s to "));
        assert!(why(here().replicas(0, Duration::from_secs(1))).contains("`replicas` is 0"));
        let sentinels = RedisConfig::sentinel("s", [("h", 1)]).sentinel_user("locks");
        assert!(why(sentinels).contains("user of the sentinels has no password"));
        let cluster = RedisConfig::cluster([("h", 1)]).database(3);
        let error = cluster.cluster_client().err().unwrap();
        assert!(error.to_string().contains("no numbered databases"), "{error}");
    }
}
