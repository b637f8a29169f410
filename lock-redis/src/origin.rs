//! Which server to connect to: always the same, or whichever is the master now.

use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ProtocolVersion, RedisResult};
#[cfg(feature = "sentinel")]
use {redis::sentinel::SentinelClient, std::sync::Arc, tokio::sync::Mutex};

/// Where new connections go.
#[derive(Clone)]
pub(crate) enum Origin {
    Server(Box<Client>),
    /// To the master that the sentinels name, and that says itself that it is one.
    #[cfg(feature = "sentinel")]
    Sentinel(Arc<Mutex<SentinelClient>>),
}

impl Origin {
    /// Whether every connection goes to the same place.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self, Self::Server(_))
    }

    /// Returns the driver's client for the server to connect to now.
    pub(crate) async fn client(&self) -> RedisResult<Client> {
        match self {
            Self::Server(client) => Ok(Client::clone(client)),
            #[cfg(feature = "sentinel")]
            Self::Sentinel(sentinels) => sentinels.lock().await.async_get_client().await,
        }
    }

    /// Returns a client for a connection that only listens.
    pub(crate) async fn listening_client(&self) -> RedisResult<Client> {
        let info = self.client().await?.get_connection_info().clone();
        // Messages arrive beside answers with RESP3 only, whatever the application's client speaks.
        let user = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive());
        Client::open(info.set_redis_settings(user).set_tcp_settings(settings))
    }
}

/// A connection that only listens never sends, so the kernel must find out that its other end is
/// gone: after some 8 seconds.
fn keepalive() -> TcpKeepalive {
    let probes = TcpKeepalive::new().with_time(Duration::from_secs(5));
    probes.with_interval(Duration::from_secs(1)).with_retries(3)
}
