//! Makes the driver's clients from a configuration.

#[cfg(not(feature = "cluster"))]
use std::convert::Infallible;
#[cfg(feature = "tls")]
use std::path::Path;
#[cfg(feature = "cluster")]
use std::time::Duration;

#[cfg(any(feature = "tls", not(all(feature = "sentinel", feature = "cluster"))))]
use lock_core::Error;
use lock_core::{ErrorKind, Result};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
#[cfg(feature = "sentinel")]
use redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use redis::{Client, ConnectionAddr, IntoConnectionInfo, ProtocolVersion, RedisConnectionInfo};

#[cfg(feature = "cluster")]
use redis::cluster::{ClusterClient, ClusterClientBuilder};

use super::builder::RedisConfig;
use super::set_up::{Sentinels, SetUp};
use super::timeouts::Timeouts;
use crate::error::{misconfigured, translate};

/// How long the driver waits for an answer of a cluster's node. While it asks a silent node for the
/// new layout of the cluster, all requests wait.
#[cfg(feature = "cluster")]
const NODE_TIMEOUT: Duration = Duration::from_secs(1);

/// How often the driver repeats a request that a cluster's node has not accepted. A few times are
/// enough, because an acquisition is tried again by core.
#[cfg(feature = "cluster")]
const RETRIES: u32 = 5;

impl RedisConfig {
    /// Returns the driver's client for one server, or `None` if a client must be made anew for each
    /// connection, because the master or the password may change.
    ///
    /// Wrong settings are reported in either case.
    pub(crate) fn lasting_client(&self) -> Result<Option<Client>> {
        self.check()?;
        match &self.set_up {
            SetUp::Cluster { .. } => {
                misconfigured("a node of a quorum is one server, not a cluster")
            }
            SetUp::Sentinel(sentinels) => self.sentinel_client(sentinels).map(|_| None),
            SetUp::Tcp { .. } | SetUp::Unix { .. } => {
                let client = self.server_client(self.fixed_address()?)?;
                Ok(self.password_source.is_none().then_some(client))
            }
        }
    }

    /// Returns the driver's client for the present server. Events of the sentinels are not
    /// subscribed to, because requests to a lost master fail no later than the events arrive.
    pub(crate) async fn client(&self) -> Result<Client> {
        match &self.set_up {
            #[cfg(feature = "sentinel")]
            SetUp::Sentinel(sentinels) => {
                let mut sentinels = self.sentinel_client(sentinels)?;
                sentinels.async_get_client().await.map_err(translate)
            }
            _ => self.server_client(self.fixed_address()?),
        }
    }

    fn fixed_address(&self) -> Result<ConnectionAddr> {
        match &self.set_up {
            SetUp::Tcp { host, port } => Ok(self.address(host, *port)),
            SetUp::Unix { path } => Ok(ConnectionAddr::Unix(path.clone())),
            SetUp::Sentinel(_) | SetUp::Cluster { .. } => misconfigured(
                "the configuration does not name one server; use `tcp`, `tls` or `unix`",
            ),
        }
    }

    /// Returns the present password.
    fn password_now(&self) -> Option<String> {
        let asked = self.password_source.as_ref().map(|source| source());
        asked.or_else(|| self.password.clone())
    }

    fn address(&self, host: &str, port: u16) -> ConnectionAddr {
        let host = host.to_owned();
        if self.over_tls {
            ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
        } else {
            ConnectionAddr::Tcp(host, port)
        }
    }

    fn server_client(&self, address: ConnectionAddr) -> Result<Client> {
        let mut user = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP3)
            .set_db(self.database.into());
        if let Some(name) = &self.user {
            user = user.set_username(name);
        }
        if let Some(password) = self.password_now() {
            user = user.set_password(password);
        }
        let info = address.into_connection_info().map_err(translate)?;
        let info = info.set_redis_settings(user).set_tcp_settings(tcp());
        let client = match self.over_tls {
            false => Client::open(info),
            #[cfg(feature = "tls")]
            true => Client::build_with_tls(info, certificates(self.ca.as_deref())?),
            #[cfg(not(feature = "tls"))]
            true => return no_tls(),
        };
        client.map_err(translate)
    }

    #[cfg(feature = "sentinel")]
    fn sentinel_client(&self, sentinels: &Sentinels) -> Result<SentinelClient> {
        let addresses = sentinels.hosts.iter().map(|(host, port)| self.address(host, *port));
        let master = SentinelServerType::Master;
        let builder = SentinelClientBuilder::new(addresses, &sentinels.service, master);
        let mut builder = builder
            .map_err(translate)?
            .set_client_to_redis_protocol(ProtocolVersion::RESP3)
            .set_client_to_redis_db(self.database.into())
            .set_client_to_redis_tcp_settings(tcp())
            .set_client_to_sentinel_tcp_settings(tcp());
        if let Some(name) = &self.user {
            builder = builder.set_client_to_redis_username(name);
        }
        if let Some(password) = self.password_now() {
            builder = builder.set_client_to_redis_password(password);
        }
        if let Some(name) = &sentinels.user {
            builder = builder.set_client_to_sentinel_username(name);
        }
        if let Some(password) = &sentinels.password {
            builder = builder.set_client_to_sentinel_password(password);
        }
        match self.over_tls {
            false => {}
            #[cfg(feature = "tls")]
            true => {
                let certificates = || certificates(self.ca.as_deref());
                builder = builder
                    .set_client_to_redis_tls_mode(redis::TlsMode::Secure)
                    .set_client_to_redis_certificates(certificates()?)
                    .set_client_to_sentinel_tls_mode(redis::TlsMode::Secure)
                    .set_client_to_sentinel_certificates(certificates()?);
            }
            #[cfg(not(feature = "tls"))]
            true => return no_tls(),
        }
        builder.build().map_err(translate)
    }

    /// Returns the driver's client for a cluster.
    #[cfg(feature = "cluster")]
    pub(crate) fn cluster_client(&self) -> Result<ClusterClient> {
        self.check()?;
        let SetUp::Cluster { nodes } = &self.set_up else {
            return misconfigured("the configuration does not name a cluster; use `cluster`");
        };
        if self.password_source.is_some() {
            return misconfigured(
                "a cluster does not support `password_from`; use `password`, and give the user two \
                 passwords on the servers while it changes",
            );
        }
        let nodes = nodes.iter().map(|(host, port)| self.address(host, *port));
        let mut builder = ClusterClientBuilder::new(nodes)
            .use_protocol(ProtocolVersion::RESP3)
            .tcp_settings(tcp())
            .connection_timeout(self.options.connect_timeout)
            .response_timeout(NODE_TIMEOUT)
            .overall_response_timeout(Some(Timeouts::default().response))
            .retries(RETRIES)
            .min_retry_wait(20)
            .max_retry_wait(200);
        if let Some(name) = &self.user {
            builder = builder.username(name);
        }
        if let Some(password) = &self.password {
            builder = builder.password(password);
        }
        match self.over_tls {
            false => {}
            #[cfg(feature = "tls")]
            true => builder = builder.certs(certificates(self.ca.as_deref())?),
            #[cfg(not(feature = "tls"))]
            true => return no_tls(),
        }
        builder.build().map_err(translate)
    }

    #[cfg(not(feature = "cluster"))]
    pub(crate) fn cluster_client(&self) -> Result<Infallible> {
        self.check()?;
        let message = "a cluster needs the feature `cluster` of the crate `lock-redis`";
        Err(Error::new(ErrorKind::Unsupported, message))
    }

    #[cfg(not(feature = "sentinel"))]
    fn sentinel_client(&self, _: &Sentinels) -> Result<()> {
        let message = "sentinels need the feature `sentinel` of the crate `lock-redis`";
        Err(Error::new(ErrorKind::Unsupported, message))
    }
}

/// Returns settings by which the kernel ends a connection that loses its packets, so that a new one
/// can be opened. By default, TCP resends for a quarter of an hour, and every request waits for
/// that.
fn tcp() -> TcpSettings {
    let limit = Timeouts::default().response;
    let tcp = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive());
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let tcp = tcp.set_user_timeout(limit);
    tcp
}

/// Returns settings by which the kernel notices that the other end of an idle connection is gone.
/// It probes for the first time after as long as an answer may take, and then every second.
pub(crate) fn keepalive() -> TcpKeepalive {
    let limit = Timeouts::default().response;
    TcpKeepalive::new().with_time(limit).with_interval(limit / 5)
}

#[cfg(feature = "tls")]
fn certificates(ca: Option<&Path>) -> Result<redis::TlsCertificates> {
    // Only the first call installs: an application that has chosen a provider keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root_cert = ca
        .map(|path| {
            std::fs::read(path).map_err(|source| {
                let message = format!("the CA file `{}` cannot be read", path.display());
                Error::new(ErrorKind::Misconfigured, message).with_source(source)
            })
        })
        .transpose()?;
    Ok(redis::TlsCertificates { client_tls: None, root_cert })
}

#[cfg(not(feature = "tls"))]
fn no_tls<T>() -> Result<T> {
    Err(lock_core::Error::new(
        ErrorKind::Unsupported,
        "TLS needs the feature `tls` of the crate `lock-redis`; there is no plain-text fallback",
    ))
}
