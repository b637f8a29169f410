//! Where connections go, and as which user: fixed, or looked up for each connection.

use std::convert::Infallible;
use std::sync::Arc;

use lock_core::Result;
use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, PushInfo};

use crate::config::RedisConfig;
use crate::config::driver::keepalive;
use crate::config::timeouts::Timeouts;
use crate::error::translate;

/// How many probes of an idle connection may stay unanswered.
const PROBES: u32 = 3;

/// Where new connections go.
#[derive(Clone)]
pub(crate) enum Endpoint {
    /// To the server of this client.
    Client(Box<Client>),
    /// To the server that the configuration leads to now, because the master or the password may
    /// change.
    Config(Arc<RedisConfig>),
    /// To the server of the application's pool, beyond the pool's limit, because an exhausted pool
    /// must not cost a held lock. The pool's manager opens them by its own settings, so they cannot
    /// listen.
    #[cfg(feature = "deadpool")]
    Pool(deadpool_redis::Pool),
}

impl Endpoint {
    /// Makes the endpoint of a configuration.
    pub(crate) fn of(config: RedisConfig) -> Result<Self> {
        Ok(match config.lasting_client()? {
            Some(client) => Self::Client(Box::new(client)),
            None => Self::Config(Arc::new(config)),
        })
    }

    /// Whether every connection goes to the same address.
    pub(crate) fn is_fixed(&self) -> bool {
        match self {
            Self::Config(config) => !config.has_sentinels(),
            _ => true,
        }
    }

    /// Opens a connection that reports what the server sends unasked, and its own end. The driver
    /// notices the end of an idle connection only with RESP3.
    pub(crate) async fn open(
        &self,
        timeouts: Timeouts,
        listens: bool,
        report: impl Fn(&PushInfo) + Send + Sync + 'static,
    ) -> Result<MultiplexedConnection> {
        let mut client = match self {
            Self::Client(client) => Client::clone(client),
            Self::Config(config) => config.client().await?,
            #[cfg(feature = "deadpool")]
            Self::Pool(pool) => {
                let opened = deadpool::managed::Manager::create(pool.manager()).await;
                return opened.map_err(translate);
            }
        };
        if listens {
            client = listening(&client)?;
        }
        let mut config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(timeouts.connect))
            .set_response_timeout(Some(timeouts.response));
        if client.get_connection_info().redis_settings().protocol() != ProtocolVersion::RESP2 {
            config = config.set_push_sender(move |push| {
                report(&push);
                Ok::<_, Infallible>(())
            });
        }
        let opened = client.get_multiplexed_async_connection_with_config(&config).await;
        opened.map_err(translate)
    }
}

/// Returns a client for a connection that only listens.
///
/// Such a connection never sends, so the kernel must notice that its other end is gone. This takes
/// about 8 seconds.
fn listening(client: &Client) -> Result<Client> {
    let info = client.get_connection_info().clone();
    // Messages arrive beside answers only with RESP3, whichever protocol the application's client
    // uses.
    let user = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    let probes = keepalive().with_retries(PROBES);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(probes);
    Client::open(info.set_redis_settings(user).set_tcp_settings(settings)).map_err(translate)
}
