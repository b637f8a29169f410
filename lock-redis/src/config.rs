use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lock_core::{Error, ErrorKind, ProviderUrl, Result, UrlOptions};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

use crate::channel::Timeouts;
use crate::error::translate;

const DEFAULT_PORT: u16 = 6379;

/// The options of every URL.
pub(crate) const URL_OPTIONS: [&str; 3] = ["prefix", "server_checks", "connect_timeout"];

/// Says where a server is, who we are there, and how locks are kept on it.
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
    place: Place,
    user: Option<String>,
    password: Option<String>,
    database: u32,
    options: RedisOptions,
}

#[derive(Clone, Debug)]
enum Place {
    Tcp { host: String, port: u16 },
    Tls { host: String, port: u16, ca: Option<PathBuf> },
    Unix { path: PathBuf },
}

/// How locks are kept on a server, however it is connected to.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are passed on"]
pub struct RedisOptions {
    pub(crate) prefix: String,
    pub(crate) server_checks: bool,
    pub(crate) connect_timeout: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        let connect_timeout = Timeouts::default().connect;
        Self { prefix: String::new(), server_checks: true, connect_timeout }
    }
}

impl RedisOptions {
    /// Makes the defaults: no prefix, server checks on, two seconds to connect.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts this before every key, byte for byte.
    ///
    /// Two prefixes keep their locks apart unless one begins with the other.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Turns off the checks of the server (version, role, eviction policy): for a server whose `INFO`
    /// is denied, or an operator who knows better. Measured: with the policy `volatile-ttl`, no held
    /// lock survived memory pressure.
    pub fn server_checks(mut self, on: bool) -> Self {
        self.server_checks = on;
        self
    }

    /// Sets how long opening a connection may take.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }
}

impl RedisConfig {
    fn at(place: Place) -> Self {
        Self { place, user: None, password: None, database: 0, options: RedisOptions::default() }
    }

    /// Names a server by host and port, without encryption.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::at(Place::Tcp { host: host.into(), port })
    }

    /// Names a server by host and port, over TLS; its certificate is always verified.
    ///
    /// Needs the feature `tls`; without it, connecting reports
    /// [`Unsupported`](ErrorKind::Unsupported) and never falls back to plain text.
    pub fn tls(host: impl Into<String>, port: u16) -> Self {
        Self::at(Place::Tls { host: host.into(), port, ca: None })
    }

    /// Names a server by its unix socket.
    pub fn unix(path: impl AsRef<Path>) -> Self {
        Self::at(Place::Unix { path: path.as_ref().into() })
    }

    /// Verifies the server against the certificates in this PEM file rather than the system's.
    /// Means nothing without TLS.
    pub fn ca(mut self, pem: impl AsRef<Path>) -> Self {
        if let Place::Tls { ca, .. } = &mut self.place {
            *ca = Some(pem.as_ref().into());
        }
        self
    }

    /// Authenticates as this ACL user.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Authenticates with this password.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Selects a numbered database.
    pub fn database(mut self, number: u32) -> Self {
        self.database = number;
        self
    }

    /// Puts this before every key; see [`RedisOptions::prefix`].
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.options = self.options.prefix(prefix);
        self
    }

    /// Turns the checks of the server on or off; see [`RedisOptions::server_checks`].
    pub fn server_checks(mut self, on: bool) -> Self {
        self.options = self.options.server_checks(on);
        self
    }

    /// Sets how long opening a connection may take.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.options = self.options.connect_timeout(limit);
        self
    }

    /// Reads a URL:
    ///
    /// | URL | meaning |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:port][/database]` | TCP |
    /// | `rediss://…` | TLS, verified; `?ca=/path/to/roots.pem` for a private authority |
    /// | `redis+unix:///path/to/socket` | unix socket; `?db=1` for a database |
    ///
    /// Options: `prefix`, `server_checks` (`on` or `off`), `connect_timeout` (such as `500ms`).
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](ErrorKind::Misconfigured), saying what is wrong and what is known.
    pub fn from_url(url: &ProviderUrl) -> Result<Self> {
        let mut known = URL_OPTIONS.to_vec();
        known.extend(match url.scheme() {
            "rediss" => Some("ca"),
            "redis+unix" => Some("db"),
            _ => None,
        });
        let given = url.options(&known)?;
        let config = match url.scheme() {
            "redis" | "rediss" => {
                let (host, port) = only_host(url)?;
                return Self::of_host(url, &given, url.scheme() == "rediss", host, port);
            }
            "redis+unix" => {
                if !url.hosts().is_empty() || matches!(url.path().as_str(), "" | "/") {
                    return misconfigured("write the socket as `redis+unix:///path/to/socket`");
                }
                Self::unix(url.path()).database(database(given.get("db").unwrap_or_default())?)
            }
            other => return misconfigured(format!("`{other}` is no scheme of this provider")),
        };
        config.with_the_rest_of(url, &given)
    }

    /// Reads what a URL says of one of its hosts.
    pub(crate) fn of_host(
        url: &ProviderUrl,
        given: &UrlOptions,
        tls: bool,
        host: &str,
        port: Option<u16>,
    ) -> Result<Self> {
        // The driver wants an IPv6 address without its brackets.
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.unwrap_or(DEFAULT_PORT);
        let config = if tls { Self::tls(host, port) } else { Self::tcp(host, port) };
        let database = database(url.path().trim_matches('/'))?;
        config.database(database).with_the_rest_of(url, given)
    }

    /// Takes over the options and the user of a URL.
    fn with_the_rest_of(mut self, url: &ProviderUrl, given: &UrlOptions) -> Result<Self> {
        if let Some(ca) = given.get("ca") {
            self = self.ca(ca);
        }
        if let Some(prefix) = given.get("prefix") {
            self = self.prefix(prefix);
        }
        if let Some(on) = given.switch("server_checks")? {
            self = self.server_checks(on);
        }
        if let Some(limit) = given.duration("connect_timeout")? {
            self = self.connect_timeout(limit);
        }
        self.user = url.username();
        self.password = url.password();
        Ok(self)
    }

    pub(crate) fn server_checks_are_on(&self) -> bool {
        self.options.server_checks
    }

    /// Makes the driver's client.
    pub(crate) fn into_client(self) -> Result<(Client, RedisOptions)> {
        let mut user = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(self.database.into());
        if let Some(name) = &self.user {
            user = user.set_username(name);
        }
        if let Some(password) = &self.password {
            user = user.set_password(password);
        }
        let client = match self.place {
            Place::Tcp { host, port } => Client::open(info(ConnectionAddr::Tcp(host, port), user)?),
            Place::Unix { path } => Client::open(info(ConnectionAddr::Unix(path), user)?),
            Place::Tls { host, port, ca } => Ok(tls_client(host, port, ca, user)?),
        };
        Ok((client.map_err(translate)?, self.options))
    }
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisConfig")
            .field("place", &self.place)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &self.database)
            .field("options", &self.options)
            .finish()
    }
}

fn info(address: ConnectionAddr, user: RedisConnectionInfo) -> Result<redis::ConnectionInfo> {
    let info = address.into_connection_info().map_err(translate)?;
    Ok(info.set_redis_settings(user).set_tcp_settings(tcp()))
}

/// A connection whose packets get lost must end, so that a new one can be opened: by itself TCP would
/// go on resending for a quarter of an hour, and every request would wait behind the lost ones.
fn tcp() -> TcpSettings {
    let limit = Timeouts::default().response;
    let probes = TcpKeepalive::new().with_time(limit).with_interval(limit / 5);
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(probes);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let tcp = tcp.set_user_timeout(limit);
    tcp
}

#[cfg(feature = "tls")]
fn tls_client(
    host: String,
    port: u16,
    ca: Option<PathBuf>,
    user: RedisConnectionInfo,
) -> Result<Client> {
    // Only the first installs; an application that chose its own provider keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root_cert = ca
        .map(|path| {
            std::fs::read(&path).map_err(|source| {
                let message = format!("the CA file `{}` cannot be read", path.display());
                Error::new(ErrorKind::Misconfigured, message).with_source(source)
            })
        })
        .transpose()?;
    let address = ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None };
    let certificates = redis::TlsCertificates { client_tls: None, root_cert };
    Client::build_with_tls(info(address, user)?, certificates).map_err(translate)
}

#[cfg(not(feature = "tls"))]
fn tls_client(
    _host: String,
    _port: u16,
    _ca: Option<PathBuf>,
    _user: RedisConnectionInfo,
) -> Result<Client> {
    Err(Error::new(
        ErrorKind::Unsupported,
        "TLS needs the feature `tls` of the crate `lock-redis`; there is no plain-text fallback",
    ))
}

fn only_host(url: &ProviderUrl) -> Result<(&str, Option<u16>)> {
    match url.hosts() {
        [(host, port)] => Ok((host, *port)),
        [] => misconfigured("the URL names no host; write `redis://host:port/database`"),
        _ => misconfigured(
            "the URL names several hosts; for a quorum of them write `redlock://host1,host2,host3`",
        ),
    }
}

fn database(number: &str) -> Result<u32> {
    if number.is_empty() {
        return Ok(0);
    }
    number.parse().or_else(|_| {
        misconfigured(format!("`{}` is no database; it is a number", number.escape_debug()))
    })
}

pub(crate) fn misconfigured<T>(message: impl Into<std::borrow::Cow<'static, str>>) -> Result<T> {
    Err(Error::new(ErrorKind::Misconfigured, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<RedisConfig> {
        RedisConfig::from_url(&ProviderUrl::parse(url).unwrap())
    }

    #[test]
    fn urls_name_every_kind_of_place() {
        let shown = |url| format!("{:?}", read(url).unwrap().place);
        assert_eq!(shown("redis://h"), r#"Tcp { host: "h", port: 6379 }"#);
        assert_eq!(shown("redis://[::1]:7/3"), r#"Tcp { host: "::1", port: 7 }"#);
        assert!(shown("rediss://h?ca=/etc/ca.pem").contains(r#"ca: Some("/etc/ca.pem")"#));
        assert_eq!(shown("redis+unix:///run/r.sock"), r#"Unix { path: "/run/r.sock" }"#);
        assert_eq!(read("redis+unix:///run/r.sock?db=4").unwrap().database, 4);
        let config = read("redis://:p%40ss@h/3?prefix=a%3A&connect_timeout=250ms").unwrap();
        assert_eq!(config.database, 3);
        assert_eq!(config.password.as_deref(), Some("p@ss"));
        assert_eq!(config.options.prefix, "a:");
        assert_eq!(config.options.connect_timeout, Duration::from_millis(250));
    }

    #[test]
    fn urls_that_cannot_work_say_what_would() {
        let why = |url| read(url).unwrap_err().to_string();
        assert!(why("redis:///0").contains("write `redis://host:port/database`"));
        assert!(why("redis://a,b").contains("several hosts"));
        assert!(why("redis://h/zero").contains("`zero` is no database"));
        assert!(why("redis+unix://h/x").contains("redis+unix:///path/to/socket"));
        assert!(why("redis+unix://").contains("redis+unix:///path/to/socket"));
        assert!(why("redis://h?ca=x").contains("unknown option `ca`; known are: prefix, "));
        assert!(why("redis://h?server_checks=no").contains("is `on` or `off`"));
        assert!(why("redis://h?connect_timeout=5").contains("not a time such as"));
    }

    #[test]
    fn no_password_is_ever_shown() {
        let config = read("redis://me:hunter2@h").unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn row_31_without_the_feature_tls_there_is_no_plain_fallback() {
        let error = read("rediss://h").unwrap().into_client().unwrap_err();
        assert!(error.is_unsupported());
    }
}
