//! Events of locks, for metrics and logs.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use crate::backend::Release;
pub use crate::error::{Effort, Operation};
use crate::error::{Error, ErrorKind, Result};
use crate::loss::Loss;
use crate::value::{FencingToken, LockKey};

/// An event of a lock.
///
/// Events contain no owner token. Use [`Event::provider`] and the name of the kind as labels of
/// metrics. Use the key in logs only, because there can be very many.
///
/// # Examples
///
/// ```
/// use lock_core::observe::Event;
///
/// fn line(event: &Event) -> String {
///     format!("lock_{}{{provider=\"{}\"}} 1", event.kind().name(), event.provider())
/// }
///
/// fn log(event: &Event) {
///     println!("{}: {:?}", event.key(), event.kind());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    provider: Arc<str>,
    key: LockKey,
    kind: EventKind,
}

impl Event {
    pub(crate) fn new(provider: &Arc<str>, key: &LockKey, kind: EventKind) -> Self {
        Self { provider: Arc::clone(provider), key: key.clone(), kind }
    }

    /// Returns the name of the provider.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Returns the key of the lock.
    pub fn key(&self) -> &LockKey {
        &self.key
    }

    /// Returns what happened.
    pub fn kind(&self) -> &EventKind {
        &self.kind
    }

    /// Writes the event to the log.
    fn trace(&self) {
        let Self { provider, key, kind } = self;
        match kind {
            EventKind::Waiting { remaining } => {
                tracing::debug!(%provider, %key, ?remaining, "held by another owner, waiting");
            }
            EventKind::Acquired { fencing, effort } => {
                let (fencing, Effort { attempts, waited }) =
                    (fencing.map(FencingToken::as_u64), effort);
                tracing::debug!(%provider, %key, fencing, attempts, ?waited, "acquired");
            }
            EventKind::NotAcquired { reason, effort: Effort { attempts, waited } } => {
                tracing::debug!(%provider, %key, ?reason, attempts, ?waited, "not acquired");
            }
            EventKind::Renewed { ttl } => tracing::trace!(%provider, %key, ?ttl, "renewed"),
            EventKind::AtRisk { failures, cause } => {
                tracing::warn!(%provider, %key, failures, %cause, "renewal failed, lock at risk");
            }
            EventKind::Lost { loss } => tracing::warn!(%provider, %key, %loss, "lost"),
            EventKind::Released { outcome, held } => {
                tracing::debug!(%provider, %key, ?outcome, ?held, "released");
            }
            EventKind::ReleaseFailed { cause } => {
                tracing::warn!(%provider, %key, %cause, "release failed, the ttl will free the key");
            }
            EventKind::Undone => {
                tracing::debug!(%provider, %key, "undid an acquisition without a known outcome");
            }
        }
    }
}

/// The kinds of event.
///
/// # Examples
///
/// ```
/// use lock_core::observe::EventKind;
///
/// fn waited_ms(kind: &EventKind) -> Option<u128> {
///     match kind {
///         EventKind::Acquired { effort, .. } => Some(effort.waited.as_millis()),
///         _ => None,
///     }
/// }
///
/// assert_eq!(waited_ms(&EventKind::Undone), None);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// An acquisition found the key held, and began to wait.
    #[non_exhaustive]
    Waiting {
        /// How long the lease of the holder has left, if the store reports it.
        remaining: Option<Duration>,
    },
    /// An acquisition succeeded.
    #[non_exhaustive]
    Acquired {
        /// The number of the grant.
        fencing: Option<FencingToken>,
        /// What it took.
        effort: Effort,
    },
    /// An acquisition ended without the lock.
    #[non_exhaustive]
    NotAcquired {
        /// The kind of its error.
        reason: ErrorKind,
        /// What it took.
        effort: Effort,
    },
    /// A lease was renewed.
    #[non_exhaustive]
    Renewed {
        /// The ttl from the renewal on.
        ttl: Duration,
    },
    /// A renewal failed. The lock is still held, and renewing goes on (law G3).
    #[non_exhaustive]
    AtRisk {
        /// The number of renewals that have failed in a row.
        failures: u32,
        /// The error of the last renewal.
        cause: Error,
    },
    /// A held lock was lost (law G2).
    #[non_exhaustive]
    Lost {
        /// The reason.
        loss: Loss,
    },
    /// A lock was released.
    #[non_exhaustive]
    Released {
        /// What the backend answered.
        outcome: Release,
        /// How long the lock was held.
        held: Duration,
    },
    /// The retries of a release in the background ended without success. The ttl frees the key.
    #[non_exhaustive]
    ReleaseFailed {
        /// The error of the last try.
        cause: Error,
    },
    /// An acquisition whose outcome was unknown has been undone (law U1).
    Undone,
}

impl EventKind {
    /// Returns the name of the kind, for the label of a metric.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::observe::EventKind;
    ///
    /// assert_eq!(EventKind::Undone.name(), "undone");
    /// ```
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "waiting",
            Self::Acquired { .. } => "acquired",
            Self::NotAcquired { .. } => "not_acquired",
            Self::Renewed { .. } => "renewed",
            Self::AtRisk { .. } => "at_risk",
            Self::Lost { .. } => "lost",
            Self::Released { .. } => "released",
            Self::ReleaseFailed { .. } => "release_failed",
            Self::Undone => "undone",
        }
    }
}

/// Receives events, to count, time or log them.
///
/// # Contract
///
/// The observer runs on a thread of its own, behind a queue of 4096 events. It can neither delay
/// nor break a lock.
///
/// | the observer | effect |
/// |---|---|
/// | panics | the panic is logged, and the observer gets the next event |
/// | is slow | events that do not fit into the queue are dropped |
/// | has events left when the process exits | these events are lost |
///
/// # Examples
///
/// ```
/// use lock_core::observe::{Event, EventKind, Observer};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Debug, Default)]
/// struct CountLosses(AtomicU64);
///
/// impl Observer for CountLosses {
///     fn on_event(&self, event: &Event) {
///         if let EventKind::Lost { .. } = event.kind() {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///     }
/// }
/// ```
pub trait Observer: std::fmt::Debug + Send + Sync + 'static {
    /// Receives one event.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::LockClient;
    /// use lock_core::observe::{Event, Observer};
    /// use lock_memory::MemoryProvider;
    ///
    /// #[derive(Debug)]
    /// struct Print;
    ///
    /// impl Observer for Print {
    ///     fn on_event(&self, event: &Event) {
    ///         println!("{} {}", event.key(), event.kind().name());
    ///     }
    /// }
    ///
    /// let locks = LockClient::builder(MemoryProvider::new()).observer(Print).build()?;
    /// # let _ = locks;
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    fn on_event(&self, event: &Event);
}

impl<O: Observer + ?Sized> Observer for Arc<O> {
    fn on_event(&self, event: &Event) {
        (**self).on_event(event);
    }
}

/// The number of events that may wait for a slow observer.
const QUEUE: usize = 4096;

/// Sends events to the log and to the observer's thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reporter {
    queue: Option<SyncSender<Event>>,
}

impl Reporter {
    /// Starts the observer's thread; it ends when the last reporter is gone.
    pub(crate) fn start(observer: Arc<dyn Observer>) -> Result<Self> {
        let (queue, events) = sync_channel::<Event>(QUEUE);
        std::thread::Builder::new()
            .name("lock-observer".into())
            .spawn(move || {
                for event in events {
                    if catch_unwind(AssertUnwindSafe(|| observer.on_event(&event))).is_err() {
                        tracing::error!(?observer, "the lock observer panicked on an event");
                    }
                }
            })
            .map_err(|source| {
                Error::new(ErrorKind::Misconfigured, "the observer's thread did not start")
                    .with_source(source)
            })?;
        Ok(Self { queue: Some(queue) })
    }

    pub(crate) fn report(&self, event: impl FnOnce() -> Event) {
        // Without an observer and a log, the event is not even built.
        if self.queue.is_none() && LevelFilter::current() == LevelFilter::OFF {
            return;
        }
        let event = event();
        event.trace();
        if let Some(queue) = &self.queue
            && let Err(TrySendError::Full(event)) = queue.try_send(event)
        {
            tracing::debug!(key = %event.key, "the lock observer is too slow, dropped an event");
        }
    }
}
