//! Reads a configuration from a URL.

use std::time::Duration;

use lock_core::Result;
use lock_core::backend::{ProviderUrl, UrlOptions};

use super::builder::RedisConfig;
use crate::error::misconfigured;

const SERVER_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

/// The options of every URL.
pub(crate) const URL_OPTIONS: [&str; 4] =
    ["prefix", "server_checks", "connect_timeout", "fencing_ttl"];

/// The options of set-ups that write to one server at a time.
const REPLICAS_OPTIONS: [&str; 2] = ["replicas", "replicas_timeout"];

/// How long replicas have, unless configured. A replica nearby needs less.
const REPLICAS_TIMEOUT: Duration = Duration::from_millis(100);

impl RedisConfig {
    /// Reads a configuration from a URL.
    ///
    /// | URL | meaning |
    /// |---|---|
    /// | `redis://[[user]:password@]host[:port][/database]` | TCP |
    /// | `redis+unix:///path/to/socket` | unix socket; `?db=1` for a database |
    /// | `redis+sentinel://[[user]:password@]host[:port],…/service` | the master that these sentinels name |
    /// | `redis+cluster://[[user]:password@]host[:port],…` | the cluster that these nodes belong to |
    /// | `rediss://…`, `rediss+sentinel://…`, `rediss+cluster://…` | the same [over TLS](Self::over_tls) |
    ///
    /// | option | meaning |
    /// |---|---|
    /// | `prefix` | [`prefix`](Self::prefix) |
    /// | `server_checks` (`on` or `off`) | [`server_checks`](Self::server_checks) |
    /// | `connect_timeout` (such as `500ms`) | [`connect_timeout`](Self::connect_timeout) |
    /// | `fencing_ttl` (such as `1h`) | [`fencing_ttl`](Self::fencing_ttl) |
    /// | `ca` (a path, with TLS) | [`ca`](Self::ca) |
    /// | `replicas` (a number), `replicas_timeout` (`100ms` by default) | [`replicas`](Self::replicas) |
    /// | `db` (with a unix socket or sentinels) | [`database`](Self::database) |
    /// | `sentinel_user` | [`sentinel_user`](Self::sentinel_user) |
    /// | `sentinel_password` | [`sentinel_password`](Self::sentinel_password) |
    ///
    /// Each set-up refuses the options that it does not support, and lists those that it does.
    ///
    /// # Errors
    ///
    /// [`Misconfigured`](lock_core::ErrorKind::Misconfigured) if the URL cannot work. The message
    /// says what would be right.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::backend::ProviderUrl;
    /// # use lock_redis::RedisConfig;
    /// # fn main() -> lock_core::Result<()> {
    /// let url = ProviderUrl::parse("redis://db-1/3?prefix=app:&connect_timeout=500ms")?;
    /// let config = RedisConfig::from_url(&url)?;
    ///
    /// let typo = ProviderUrl::parse("redis://db-1/?prefx=app:")?;
    /// assert!(RedisConfig::from_url(&typo).unwrap_err().is_misconfigured());
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_url(url: &ProviderUrl) -> Result<Self> {
        let (scheme, set_up) = url.scheme().split_once('+').unwrap_or((url.scheme(), ""));
        let tls = match (scheme, set_up) {
            ("redis", "" | "unix" | "sentinel" | "cluster") => false,
            ("rediss", "" | "sentinel" | "cluster") => true,
            _ => {
                return misconfigured(format!(
                    "`{}` is not a scheme of this provider; write `redis://` for one server",
                    url.scheme()
                ));
            }
        };
        let mut known = URL_OPTIONS.to_vec();
        known.extend(tls.then_some("ca"));
        known.extend(match set_up {
            "unix" => &["db"][..],
            "sentinel" => &["db", "sentinel_user", "sentinel_password"],
            _ => &[],
        });
        known.extend((set_up != "cluster").then_some(REPLICAS_OPTIONS).into_iter().flatten());
        let given = url.options(&known)?;
        let config = match set_up {
            "unix" => {
                if !url.hosts().is_empty() || matches!(url.path().as_str(), "" | "/") {
                    return misconfigured("write the socket as `redis+unix:///path/to/socket`");
                }
                Self::unix(url.path())
            }
            "sentinel" => sentinels(url, &given)?,
            "cluster" => {
                if url.hosts().is_empty() || !url.path().trim_matches('/').is_empty() {
                    let form = "`redis+cluster://host1,host2`; a cluster has no numbered databases";
                    return misconfigured(format!("write the cluster as {form}"));
                }
                let nodes = url.hosts().iter();
                Self::cluster(nodes.map(|(host, port)| (bare(host), port.unwrap_or(SERVER_PORT))))
            }
            _ => {
                let (host, port) = only_host(url)?;
                return Self::of_host(url, &given, tls, host, port);
            }
        };
        let config = config.database(database(given.get("db").unwrap_or_default())?);
        config.with_the_rest_of(url, &given, tls)
    }

    /// Reads the configuration of one of a URL's hosts.
    pub(crate) fn of_host(
        url: &ProviderUrl,
        given: &UrlOptions,
        tls: bool,
        host: &str,
        port: Option<u16>,
    ) -> Result<Self> {
        let config = Self::tcp(bare(host), port.unwrap_or(SERVER_PORT));
        let database = database(url.path().trim_matches('/'))?;
        config.database(database).with_the_rest_of(url, given, tls)
    }

    /// Applies the options and the credentials of a URL.
    fn with_the_rest_of(
        mut self,
        url: &ProviderUrl,
        given: &UrlOptions,
        tls: bool,
    ) -> Result<Self> {
        if tls {
            self = self.over_tls();
        }
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
        if let Some(time) = given.duration("fencing_ttl")? {
            self = self.fencing_ttl(time);
        }
        if let Some(count) = given.get("replicas") {
            let Ok(count) = count.parse() else {
                let count = count.escape_debug();
                return misconfigured(format!("`replicas` is `{count}`; give a number"));
            };
            let limit = given.duration("replicas_timeout")?;
            self = self.replicas(count, limit.unwrap_or(REPLICAS_TIMEOUT));
        } else if given.get("replicas_timeout").is_some() {
            return misconfigured(
                "`replicas_timeout` has no effect without `replicas`; give both or none",
            );
        }
        self.user = url.username();
        self.password = url.password();
        Ok(self)
    }
}

fn sentinels(url: &ProviderUrl, given: &UrlOptions) -> Result<RedisConfig> {
    let service = url.path().trim_matches('/').to_owned();
    if url.hosts().is_empty() || service.is_empty() {
        return misconfigured(
            "write the sentinels as `redis+sentinel://host1,host2,host3/service`",
        );
    }
    if service.contains('/') {
        let service = service.escape_debug();
        return misconfigured(format!(
            "`{service}` is not the name of a service; a numbered database is `?db=1`"
        ));
    }
    let hosts = url.hosts().iter();
    let hosts = hosts.map(|(host, port)| (bare(host), port.unwrap_or(SENTINEL_PORT)));
    let mut config = RedisConfig::sentinel(service, hosts);
    if let Some(user) = given.get("sentinel_user") {
        config = config.sentinel_user(user);
    }
    if let Some(password) = given.get("sentinel_password") {
        config = config.sentinel_password(password);
    }
    Ok(config)
}

/// Returns a host as the driver takes it: an IPv6 address without its brackets.
fn bare(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']')
}

fn only_host(url: &ProviderUrl) -> Result<(&str, Option<u16>)> {
    match url.hosts() {
        [(host, port)] => Ok((host, *port)),
        [] => misconfigured("the URL names no host; write `redis://host:port/database`"),
        _ => misconfigured(
            "the URL names several hosts; write `redlock://host1,host2,host3` for a quorum, \
             `redis+sentinel://host1,host2/service` for sentinels, \
             `redis+cluster://host1,host2` for a cluster",
        ),
    }
}

fn database(number: &str) -> Result<u32> {
    if number.is_empty() {
        return Ok(0);
    }
    number.parse().or_else(|_| {
        misconfigured(format!("`{}` is not a database; give its number", number.escape_debug()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<RedisConfig> {
        RedisConfig::from_url(&ProviderUrl::parse(url).unwrap())
    }

    #[test]
    fn urls_name_every_kind_of_set_up() {
        let shown = |url| format!("{:?}", read(url).unwrap().set_up);
        assert_eq!(shown("redis://h"), r#"Tcp { host: "h", port: 6379 }"#);
        assert_eq!(shown("redis://[::1]:7/3"), r#"Tcp { host: "::1", port: 7 }"#);
        let config = read("rediss://h?ca=/etc/ca.pem").unwrap();
        assert!(config.over_tls && config.ca == Some("/etc/ca.pem".into()));
        let sentinels = shown("redis+sentinel://a,[::1]:7/main?sentinel_password=hunter2");
        assert!(sentinels.contains(r#"service: "main", hosts: [("a", 26379), ("::1", 7)]"#));
        assert_eq!(shown("redis+unix:///run/r.sock"), r#"Unix { path: "/run/r.sock" }"#);
        assert_eq!(read("redis+unix:///run/r.sock?db=4").unwrap().database, 4);
        let config = read("redis://:p%40ss@h/3?prefix=a%3A&connect_timeout=250ms").unwrap();
        assert_eq!(config.database, 3);
        assert_eq!(config.password.as_deref(), Some("p@ss"));
        assert_eq!(config.options.prefix, "a:");
        assert_eq!(config.options.connect_timeout, Duration::from_millis(250));
    }

    #[test]
    fn a_wrong_url_is_refused_with_what_would_be_right() {
        let why = |url| read(url).unwrap_err().to_string();
        assert!(why("redis:///0").contains("write `redis://host:port/database`"));
        assert!(why("redis://a,b").contains("several hosts"));
        assert!(why("redis://h/zero").contains("`zero` is not a database"));
        assert!(why("redis+sentinel://h").contains("`redis+sentinel://host1,host2,host3/service`"));
        assert!(
            why("redis+sentinel:///s").contains("`redis+sentinel://host1,host2,host3/service`")
        );
        assert!(why("redis+sentinel://h/s/3").contains("`s/3` is not the name of a service"));
        assert!(why("redis+what://h").contains("`redis+what` is not a scheme"));
        assert!(why("redis+unix://h/x").contains("redis+unix:///path/to/socket"));
        assert!(why("redis+unix://").contains("redis+unix:///path/to/socket"));
        assert!(why("redis://h?ca=x").contains("unknown option `ca`; known are: prefix, "));
        assert!(why("redis://h?server_checks=no").contains("is `on` or `off`"));
        assert!(why("redis://h?connect_timeout=5").contains("not a time such as"));
    }

    #[test]
    fn no_password_is_ever_shown() {
        for url in ["redis://me:hunter2@h", "redis+sentinel://h/s?sentinel_password=hunter2"] {
            assert!(!format!("{:?}", read(url).unwrap()).contains("hunter2"));
        }
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn r31_without_the_feature_tls_there_is_no_plain_fallback() {
        let error = read("rediss://h").unwrap().lasting_client().err().unwrap();
        assert!(error.is_unsupported());
    }
}
