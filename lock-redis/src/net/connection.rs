//! One multiplexed connection that is replaced when it breaks, and only then.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lock_core::{Effect, Result};
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisError,
    RedisResult, ServerErrorKind,
};

use crate::config::timeouts::Timeouts;
use crate::error::translate;
use crate::net::checks::Vetting;
use crate::net::endpoint::Origin;
use crate::wait::news::News;

/// A connection is busy that owes more answers than these, or has given none for so long.
const FEW: usize = 100;
const PROMPT: Duration = Duration::from_millis(50);

/// Where a channel's connections come from.
pub(crate) enum Source {
    /// The driver's client, with limits for connecting and answering.
    Client {
        origin: Origin,
        timeouts: Timeouts,
        vetting: Option<Arc<Vetting>>,
        /// What else is to be done when a connection takes another's place.
        replaced: Option<Arc<dyn Fn() + Send + Sync>>,
    },
    /// The driver's client, for a connection that only listens.
    Subscriber { origin: Origin, timeouts: Timeouts, news: Arc<News> },
    /// The application's pool, past its limit: a pool that is used up must not cost a held lock.
    #[cfg(feature = "deadpool")]
    Pool { pool: deadpool_redis::Pool, vetting: Option<Arc<Vetting>> },
}

/// One connection for any number of concurrent requests.
///
/// A broken connection is noticed when it is closed, when a request fails, or when requests stay
/// without an answer; the next request then opens a new one. Whatever goes wrong while opening
/// concerns that attempt alone.
pub(crate) struct Channel {
    source: Arc<Source>,
    slot: Arc<Slot>,
    /// Held while a connection is opened, so that one is opened, not one a request.
    opening: Arc<tokio::sync::Mutex<()>>,
}

/// A connection, and the name of the server's process, if it was asked for.
#[derive(Clone)]
struct Connection {
    wire: MultiplexedConnection,
    process: Option<Arc<str>>,
}

/// The present connection, and what is known about it.
#[derive(Default)]
struct Slot(Mutex<Present>);

#[derive(Default)]
struct Present {
    /// How many were begun: what is learned about an old connection must not close a new one.
    generation: u64,
    connection: Option<Connection>,
    /// How many answers it owes.
    owed: usize,
    /// Since when it owes an answer without having given any.
    unanswered_since: Option<Instant>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connection(&self) -> Option<(u64, Connection)> {
        let present = self.lock();
        present.connection.clone().map(|connection| (present.generation, connection))
    }

    fn begin(&self) -> u64 {
        let mut present = self.lock();
        present.generation += 1;
        present.generation
    }

    /// Changes what is known about a connection, if it is still the present one.
    fn about(&self, generation: u64, change: impl FnOnce(&mut Present)) {
        let mut present = self.lock();
        if present.generation == generation {
            change(&mut present);
        }
    }

    fn discard(&self, generation: u64) {
        self.about(generation, |present| present.connection = None);
    }
}

impl Channel {
    /// Makes a channel without a connection.
    pub(crate) fn closed(source: Source) -> Self {
        let (slot, opening) = Default::default();
        Self { source: Arc::new(source), slot, opening }
    }

    /// Makes sure that there is a connection.
    pub(crate) async fn connect(&self) -> Result<()> {
        self.connection().await.map(drop)
    }

    /// Whether a request sent now would be answered soon, as far as one can tell.
    pub(crate) fn is_at_ease(&self) -> bool {
        let present = self.slot.lock();
        present.connection.is_some()
            && present.owed < FEW
            && present.unanswered_since.is_none_or(|since| since.elapsed() < PROMPT)
    }

    /// Returns what closes the present connection, if there is one.
    pub(crate) fn discarding(&self) -> impl Fn() + Send + Sync + 'static {
        let slot = Arc::clone(&self.slot);
        move || slot.lock().connection = None
    }

    /// Sends a request over the present connection.
    pub(crate) async fn run<T>(
        &self,
        request: impl AsyncFnOnce(&mut MultiplexedConnection, Option<&str>) -> RedisResult<T>,
    ) -> Result<T> {
        let (generation, mut connection) = self.connection().await?;
        let mut doubt = Doubt::begin(&self.slot, generation);
        let answer = request(&mut connection.wire, connection.process.as_deref()).await;
        doubt.answered();
        if answer.as_ref().is_err_and(is_of_the_connection) {
            self.slot.discard(generation);
        }
        answer.map_err(translate)
    }

    /// Returns the present connection or opens one; an error means that nothing was sent.
    ///
    /// Opening goes on when its caller gives up: on a slow way, callers in a hurry would otherwise
    /// begin one connection after the other and never finish any.
    async fn connection(&self) -> Result<(u64, Connection)> {
        if let Some(present) = self.slot.connection() {
            return Ok(present);
        }
        let one_at_a_time = Arc::clone(&self.opening).lock_owned().await;
        if let Some(present) = self.slot.connection() {
            return Ok(present);
        }
        let (source, slot) = (Arc::clone(&self.source), Arc::clone(&self.slot));
        let opened = tokio::spawn(async move {
            let _until_done = one_at_a_time;
            let generation = slot.begin();
            let connection = source.connect(&slot, generation).await?;
            slot.about(generation, |present| {
                present.connection = Some(connection.clone());
                present.owed = 0;
                present.unanswered_since = None;
            });
            if let Source::Client { replaced: Some(replaced), .. } = &*source
                && generation > 1
            {
                replaced();
            }
            Ok((generation, connection))
        });
        let gone = |gone| Err(translate(std::io::Error::other(gone).into()));
        opened.await.unwrap_or_else(gone).map_err(|error| error.with_effect(Effect::NotApplied))
    }
}

/// Whether another connection may do better: this one is broken, or its server is no master any more,
/// and whoever is may be found at the same name.
fn is_of_the_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

impl Source {
    async fn connect(&self, slot: &Arc<Slot>, generation: u64) -> Result<Connection> {
        let opened = match self {
            Self::Client { origin, timeouts, .. } => {
                let client = origin.client().await?;
                open(&client, *timeouts, slot, generation, |_| {}).await
            }
            Self::Subscriber { origin, timeouts, news } => {
                news.followers.clear(); // they were followed over another connection
                let heard = Arc::clone(news);
                let hear = move |push: &PushInfo| heard.hear(push);
                let client = origin.listening_client().await?;
                let opened = open(&client, *timeouts, slot, generation, hear).await;
                let mut connection = opened.map_err(translate)?;
                connection.subscribe(news.name()).await.map(|()| connection)
            }
            #[cfg(feature = "deadpool")]
            Self::Pool { pool, .. } => deadpool::managed::Manager::create(pool.manager()).await,
        };
        let (mut wire, mut process) = (opened.map_err(translate)?, None);
        let vetting = match self {
            Self::Client { vetting, .. } => vetting.as_ref(),
            #[cfg(feature = "deadpool")]
            Self::Pool { vetting, .. } => vetting.as_ref(),
            Self::Subscriber { .. } => None, // no lock depends on it
        };
        if let Some(vetting) = vetting {
            let info = redis::cmd("INFO").query_async(&mut wire).await;
            process = Some(vetting.vet(&info.map_err(translate)?)?);
        }
        Ok(Connection { wire, process })
    }
}

/// Opens a connection that empties its slot when it is closed. The driver tells of that while the
/// connection is idle with RESP3 only.
async fn open(
    client: &Client,
    timeouts: Timeouts,
    slot: &Arc<Slot>,
    generation: u64,
    hear: impl Fn(&PushInfo) + Send + Sync + 'static,
) -> RedisResult<MultiplexedConnection> {
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(timeouts.connect))
        .set_response_timeout(Some(timeouts.response));
    let protocol = client.get_connection_info().redis_settings().protocol();
    let slot = Arc::downgrade(slot);
    let heard = move |push: PushInfo| {
        if push.kind == PushKind::Disconnection
            && let Some(slot) = slot.upgrade()
        {
            slot.discard(generation);
        }
        hear(&push);
        Ok::<_, std::convert::Infallible>(())
    };
    if protocol != ProtocolVersion::RESP2 {
        config = config.set_push_sender(heard);
    }
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Casts doubt on a connection when a request is dropped without an answer: if by then it has owed
/// answers for too long without giving any, it is discarded.
struct Doubt<'a> {
    slot: &'a Slot,
    generation: u64,
    open: bool,
}

impl<'a> Doubt<'a> {
    fn begin(slot: &'a Slot, generation: u64) -> Self {
        slot.about(generation, |present| {
            present.owed += 1;
            present.unanswered_since.get_or_insert_with(Instant::now);
        });
        Self { slot, generation, open: true }
    }

    fn answered(&mut self) {
        self.open = false;
        self.slot.about(self.generation, |present| {
            present.owed = present.owed.saturating_sub(1);
            present.unanswered_since = None;
        });
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if !self.open {
            return;
        }
        self.slot.about(self.generation, |present| {
            present.owed = present.owed.saturating_sub(1);
            if present.unanswered_since.is_some_and(|since| since.elapsed() >= Timeouts::SILENCE) {
                present.connection = None;
            }
        });
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel")
    }
}
