//! Which server to connect to: always the same, or whichever is the master now.

use std::sync::Arc;
use std::time::Duration;

use redis::io::tcp::{TcpSettings, socket2::TcpKeepalive};
use redis::{Client, ProtocolVersion, RedisResult};
#[cfg(feature = "sentinel")]
use {redis::sentinel::SentinelClient, tokio::sync::Mutex};

/// Where new connections go, and with which password.
#[derive(Clone)]
pub(crate) struct Origin {
    place: Place,
    /// Asked for every connection, where the password may change.
    password: Option<PasswordSource>,
}

/// Tells the password of the moment.
pub(crate) type PasswordSource = Arc<dyn Fn() -> String + Send + Sync>;

#[derive(Clone)]
enum Place {
    Server(Box<Client>),
    /// To the master that the sentinels name, and that says itself that it is one.
    #[cfg(feature = "sentinel")]
    Sentinel(Arc<Mutex<SentinelClient>>),
}

impl Origin {
    pub(crate) fn server(client: Client) -> Self {
        Self { place: Place::Server(Box::new(client)), password: None }
    }

    #[cfg(feature = "sentinel")]
    pub(crate) fn sentinel(client: SentinelClient) -> Self {
        Self { place: Place::Sentinel(Arc::new(Mutex::new(client))), password: None }
    }

    pub(crate) fn with_password(mut self, source: Option<PasswordSource>) -> Self {
        self.password = source;
        self
    }

    /// Whether every connection goes to the same place.
    pub(crate) fn is_fixed(&self) -> bool {
        matches!(self.place, Place::Server(_))
    }

    /// Returns the driver's client for the server to connect to now.
    pub(crate) async fn client(&self) -> RedisResult<Client> {
        let client = match &self.place {
            Place::Server(client) => Client::clone(client),
            #[cfg(feature = "sentinel")]
            Place::Sentinel(sentinels) => sentinels.lock().await.async_get_client().await?,
        };
        let Some(password) = &self.password else { return Ok(client) };
        let info = client.get_connection_info().clone();
        let user = info.redis_settings().clone().set_password(password());
        Client::open(info.set_redis_settings(user))
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
