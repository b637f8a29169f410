//! Which server to connect to, and as whom: always the same, or to be found out each time.

use std::sync::Arc;

use lock_core::Result;
use redis::io::tcp::TcpSettings;
use redis::{Client, ProtocolVersion};

use crate::config::RedisConfig;
use crate::config::driver::keepalive;
use crate::error::translate;

/// How many probes of an idle connection may stay unanswered.
const PROBES: u32 = 3;

/// Where new connections go.
#[derive(Clone)]
pub(crate) enum Origin {
    Server(Box<Client>),
    /// To wherever the configuration leads now: the master may be another one, or the password.
    Config(Arc<RedisConfig>),
}

impl Origin {
    /// Goes where a configuration leads.
    pub(crate) fn of(config: RedisConfig) -> Result<Self> {
        Ok(match config.lasting_client()? {
            Some(client) => Self::Server(Box::new(client)),
            None => Self::Config(Arc::new(config)),
        })
    }

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
    ///
    /// Such a connection never sends, so the kernel must find out that its other end is gone: after
    /// some 8 seconds.
    pub(crate) async fn listening_client(&self) -> Result<Client> {
        let info = self.client().await?.get_connection_info().clone();
        // Messages arrive beside answers with RESP3 only, whatever the application's client speaks.
        let user = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let probes = keepalive().with_retries(PROBES);
        let settings = TcpSettings::default().set_nodelay(true).set_keepalive(probes);
        Client::open(info.set_redis_settings(user).set_tcp_settings(settings)).map_err(translate)
    }
}
