//! One multiplexed connection that is replaced when it breaks, and only then.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lock_core::{Effect, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, RedisResult};

use crate::error::translate;

/// A request that nobody has answered for this long, and that its caller has given up, casts doubt on
/// its connection: packets may get lost without an error ever being seen.
const SILENCE: Duration = Duration::from_secs(1);

/// Where a channel's connections come from.
pub(crate) enum Source {
    /// The driver's client, with limits for connecting and answering.
    Client { client: Box<Client>, timeouts: Timeouts },
    /// The application's pool, past its limit: a pool that is used up must not cost a held lock.
    #[cfg(feature = "deadpool")]
    Pool(deadpool_redis::Pool),
}

/// How long the driver waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), response: Duration::from_secs(5) }
    }
}

/// One connection for any number of concurrent requests.
///
/// A broken connection is noticed when it is closed, when a request fails, or when a request stays
/// without an answer; the next request then opens a new one. Whatever goes wrong while opening
/// concerns that attempt alone.
pub(crate) struct Channel {
    source: Source,
    slot: Arc<Slot>,
    /// Held while a connection is opened, so that one is opened, not one a request.
    opening: tokio::sync::Mutex<()>,
}

/// The present connection, and how many there were: what was learned about an old one must not
/// close a new one.
#[derive(Default)]
struct Slot(Mutex<(u64, Option<MultiplexedConnection>)>);

impl Slot {
    fn lock(&self) -> MutexGuard<'_, (u64, Option<MultiplexedConnection>)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn present(&self) -> Option<(u64, MultiplexedConnection)> {
        let slot = self.lock();
        slot.1.clone().map(|connection| (slot.0, connection))
    }

    /// Gives up a connection, if it is still the present one.
    fn discard(&self, generation: u64) {
        let mut slot = self.lock();
        if slot.0 == generation {
            slot.1 = None;
        }
    }
}

impl Channel {
    /// Makes a channel and opens its first connection.
    pub(crate) async fn open(source: Source) -> Result<Self> {
        let opening = tokio::sync::Mutex::new(());
        let channel = Self { source, slot: Arc::default(), opening };
        channel.connection().await.map_err(translate)?;
        Ok(channel)
    }

    /// Sends a request over the present connection.
    pub(crate) async fn run<T>(
        &self,
        request: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T> {
        // Nothing has been sent as long as there is no connection.
        let opened = self.connection().await;
        let (generation, mut connection) =
            opened.map_err(|error| translate(error).with_effect(Effect::NotApplied))?;
        let mut doubt = Doubt { slot: &self.slot, generation, since: Some(Instant::now()) };
        let answer = request(&mut connection).await;
        doubt.since = None;
        if answer.as_ref().is_err_and(|error| error.is_io_error() || error.is_unrecoverable_error())
        {
            self.slot.discard(generation);
        }
        answer.map_err(translate)
    }

    async fn connection(&self) -> RedisResult<(u64, MultiplexedConnection)> {
        if let Some(present) = self.slot.present() {
            return Ok(present);
        }
        let _one_at_a_time = self.opening.lock().await;
        if let Some(present) = self.slot.present() {
            return Ok(present);
        }
        let generation = self.slot.lock().0 + 1;
        let connection = self.connect(generation).await?;
        *self.slot.lock() = (generation, Some(connection.clone()));
        Ok((generation, connection))
    }

    async fn connect(&self, generation: u64) -> RedisResult<MultiplexedConnection> {
        match &self.source {
            Source::Client { client, timeouts } => {
                let mut config = AsyncConnectionConfig::new()
                    .set_connection_timeout(Some(timeouts.connect))
                    .set_response_timeout(Some(timeouts.response));
                // The driver tells of a connection that is closed while it is idle, with RESP3 only.
                let protocol = client.get_connection_info().redis_settings().protocol();
                let slot = Arc::downgrade(&self.slot);
                let closed = move |push: PushInfo| {
                    if push.kind == PushKind::Disconnection
                        && let Some(slot) = slot.upgrade()
                    {
                        slot.discard(generation);
                    }
                    Ok::<_, std::convert::Infallible>(())
                };
                if protocol != ProtocolVersion::RESP2 {
                    config = config.set_push_sender(closed);
                }
                client.get_multiplexed_async_connection_with_config(&config).await
            }
            #[cfg(feature = "deadpool")]
            Source::Pool(pool) => deadpool::managed::Manager::create(pool.manager()).await,
        }
    }
}

/// Casts doubt on a connection when a request is dropped without an answer.
struct Doubt<'a> {
    slot: &'a Slot,
    generation: u64,
    /// `None` once the answer has come.
    since: Option<Instant>,
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if self.since.is_some_and(|since| since.elapsed() >= SILENCE) {
            self.slot.discard(self.generation);
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel")
    }
}
