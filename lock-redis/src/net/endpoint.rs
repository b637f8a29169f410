//! Which server to connect to, and as whom: always the same, or to be found out each time.

use std::sync::Arc;
use std::time::Duration;

use lock_core::Result;
use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ProtocolVersion};

use crate::config::RedisConfig;
use crate::error::translate;

/// Where new connections go.
#[derive(Clone)]
pub(crate) enum Origin {
    Server(Box<Client>),
    /// To wherever the configuration leads now: the master may be another one, or the password.
    Config(Arc<RedisConfig>),
}

impl Origin {
    /// Whether every connection goes to the same place.
    pub(crate) fn is_fixed(&self) -> bool {
        match self {
            Self::Server(_) => true,
            Self::Config(config) => !config.has_sentinels(),
        }
    }

    /// Returns the driver's client for the server to connect to now.
    pub(crate) async fn client(&self) -> Result<Client> {
        match self {
            Self::Server(client) => Ok(Client::clone(client)),
            Self::Config(config) => config.client().await,
        }
    }

    /// Returns a client for a connection that only listens.
    pub(crate) async fn listening_client(&self) -> Result<Client> {
        let info = self.client().await?.get_connection_info().clone();
        // Messages arrive beside answers with RESP3 only, whatever the application's client speaks.
        let user = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive());
        Client::open(info.set_redis_settings(user).set_tcp_settings(settings)).map_err(translate)
    }
}

/// A connection that only listens never sends, so the kernel must find out that its other end is
/// gone: after some 8 seconds.
fn keepalive() -> TcpKeepalive {
    let probes = TcpKeepalive::new().with_time(Duration::from_secs(5));
    probes.with_interval(Duration::from_secs(1)).with_retries(3)
}
