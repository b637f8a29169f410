//! One multiplexed connection, which is replaced only when it is broken.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lock_core::Result;
use lock_core::backend::Effect;
use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, PushInfo, PushKind, RedisError, RedisResult, ServerErrorKind};

use super::checks::ServerChecks;
use super::endpoint::Endpoint;
use super::listener::{Hook, Listener};
use crate::config::timeouts::Timeouts;
use crate::error::translate;

/// A connection is busy if it owes this many answers, or has owed one for this long.
const FEW: usize = 100;
const PROMPT: Duration = Duration::from_millis(50);

/// How connections are opened, and what is done then.
pub(crate) struct Settings {
    pub(crate) endpoint: Endpoint,
    pub(crate) timeouts: Timeouts,
    /// `None` if no lock depends on the connection, or if there are no checks.
    pub(crate) checks: Option<Arc<ServerChecks>>,
    /// Called when a connection has replaced another.
    pub(crate) replaced: Option<Hook>,
    /// Takes what the server reports unasked; without it, a connection only carries answers.
    pub(crate) listener: Option<Arc<dyn Listener>>,
}

/// One connection for any number of concurrent requests.
///
/// A broken connection is noticed when it is closed, when a request fails, or when requests stay
/// unanswered. The next request then opens a new one. A failure to open concerns only that attempt.
///
/// The driver's connection manager is not used, because it replaces a connection only after an I/O
/// error. If a reconnect meets a wrong password or a busy server, the manager repeats that answer
/// for ever. If a connection loses its packets, there is no error, so it is never replaced.
pub(crate) struct Connection {
    settings: Arc<Settings>,
    slot: Arc<Slot>,
    /// Held while a connection is opened, so that one is opened, and not one per request.
    one_at_a_time: Arc<tokio::sync::Mutex<()>>,
}

/// An open connection, and the name of the server's process, if the server was checked.
#[derive(Clone)]
struct Opened {
    connection: MultiplexedConnection,
    process: Option<Arc<str>>,
}

/// The present connection, and what is known about it.
#[derive(Default)]
struct Slot(Mutex<Present>);

#[derive(Default)]
struct Present {
    /// How many connections were begun. An event carries the number of its connection, so that an
    /// event of an earlier connection does not close the present one.
    generation: u64,
    /// The connection of this generation; `None` while it is being opened, and when it is broken.
    opened: Option<Opened>,
    /// How many answers it owes; zero when every request was answered or given up.
    owed: usize,
    /// Since when it has owed an answer without giving any; `None` after each answer.
    unanswered_since: Option<Instant>,
}

impl Slot {
    fn lock(&self) -> MutexGuard<'_, Present> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> Option<(u64, Opened)> {
        let present = self.lock();
        present.opened.clone().map(|opened| (present.generation, opened))
    }

    fn begin(&self) -> u64 {
        let mut present = self.lock();
        present.generation += 1;
        present.generation
    }

    /// Changes the state of a connection, if it is still the present one.
    fn about(&self, generation: u64, change: impl FnOnce(&mut Present)) {
        let mut present = self.lock();
        if present.generation == generation {
            change(&mut present);
        }
    }

    fn discard(&self, generation: u64) {
        self.about(generation, |present| present.opened = None);
    }
}

impl Connection {
    /// Prepares a connection; the first request opens it.
    pub(crate) fn closed(settings: Settings) -> Self {
        let (slot, one_at_a_time) = Default::default();
        Self { settings: Arc::new(settings), slot, one_at_a_time }
    }

    /// Opens a connection if there is none.
    pub(crate) async fn connect(&self) -> Result<()> {
        self.opened().await.map(drop)
    }

    /// Whether a request that is sent now is likely to be answered soon.
    pub(crate) fn is_prompt(&self) -> bool {
        let present = self.slot.lock();
        present.opened.is_some()
            && present.owed < FEW
            && present.unanswered_since.is_none_or(|since| since.elapsed() < PROMPT)
    }

    /// Returns a function that closes the present connection, if there is one.
    pub(crate) fn closing(&self) -> impl Fn() + Send + Sync + 'static {
        let slot = Arc::clone(&self.slot);
        move || slot.lock().opened = None
    }

    /// Sends a request over the present connection.
    pub(crate) async fn run<T>(
        &self,
        request: impl AsyncFnOnce(&mut MultiplexedConnection, Option<&str>) -> RedisResult<T>,
    ) -> Result<T> {
        let (generation, mut opened) = self.opened().await?;
        let mut unanswered = Unanswered::begin(&self.slot, generation);
        let answer = request(&mut opened.connection, opened.process.as_deref()).await;
        unanswered.end();
        if answer.as_ref().is_err_and(is_of_the_connection) {
            self.slot.discard(generation);
        }
        answer.map_err(translate)
    }

    /// Returns the present connection, or opens one. An error means that nothing was sent.
    ///
    /// Opening goes on if the caller gives up. Otherwise callers with short limits, on a slow
    /// network, would begin one connection after the other and never finish any.
    async fn opened(&self) -> Result<(u64, Opened)> {
        if let Some(present) = self.slot.opened() {
            return Ok(present);
        }
        let one_at_a_time = Arc::clone(&self.one_at_a_time).lock_owned().await;
        if let Some(present) = self.slot.opened() {
            return Ok(present);
        }
        let (settings, slot) = (Arc::clone(&self.settings), Arc::clone(&self.slot));
        let task = tokio::spawn(async move {
            let _until_done = one_at_a_time;
            let generation = slot.begin();
            let opened = settings.open(&slot, generation).await?;
            slot.about(generation, |present| {
                present.opened = Some(opened.clone());
                present.owed = 0;
                present.unanswered_since = None;
            });
            if let Some(replaced) = &settings.replaced
                && generation > 1
            {
                replaced();
            }
            Ok((generation, opened))
        });
        let gone = |gone| Err(translate(std::io::Error::other(gone).into()));
        task.await.unwrap_or_else(gone).map_err(|error| error.with_effect(Effect::NotApplied))
    }
}

/// Whether a new connection may succeed: this one is broken, or its server is no longer a master.
/// The new master may be found under the same name.
fn is_of_the_connection(error: &RedisError) -> bool {
    error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}

impl Settings {
    /// Opens a connection that empties its slot when it is closed.
    async fn open(&self, slot: &Arc<Slot>, generation: u64) -> Result<Opened> {
        if let Some(listener) = &self.listener {
            listener.opening();
        }
        let (slot, listener) = (Arc::downgrade(slot), self.listener.clone());
        let report = move |push: &PushInfo| {
            if push.kind == PushKind::Disconnection
                && let Some(slot) = slot.upgrade()
            {
                slot.discard(generation);
            }
            if let Some(listener) = &listener {
                listener.hear(push);
            }
        };
        let listens = self.listener.is_some();
        let mut connection = self.endpoint.open(self.timeouts, listens, report).await?;
        if let Some(channel) = self.listener.as_ref().and_then(|listener| listener.channel()) {
            connection.subscribe(channel).await.map_err(translate)?;
        }
        let mut process = None;
        if let Some(checks) = &self.checks {
            let info = redis::cmd("INFO").query_async(&mut connection).await;
            process = Some(checks.check(&info.map_err(translate)?)?);
        }
        Ok(Opened { connection, process })
    }
}

/// Counts a request until it is answered. If a request is dropped without an answer, and its
/// connection has given no answer for too long, the connection is discarded.
struct Unanswered<'a> {
    slot: &'a Slot,
    generation: u64,
    ended: bool,
}

impl<'a> Unanswered<'a> {
    fn begin(slot: &'a Slot, generation: u64) -> Self {
        slot.about(generation, |present| {
            present.owed += 1;
            present.unanswered_since.get_or_insert_with(Instant::now);
        });
        Self { slot, generation, ended: false }
    }

    fn end(&mut self) {
        self.ended = true;
        self.slot.about(self.generation, |present| {
            present.owed = present.owed.saturating_sub(1);
            present.unanswered_since = None;
        });
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.slot.about(self.generation, |present| {
            present.owed = present.owed.saturating_sub(1);
            let since = present.unanswered_since;
            if since.is_some_and(|since| since.elapsed() >= Timeouts::SILENCE) {
                present.opened = None;
            }
        });
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connection")
    }
}
