//! The observer of events, and the thread that it runs on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tracing::Level;
use tracing::level_filters::LevelFilter;

use super::event::Event;
use crate::error::{Error, ErrorKind, Result};

/// Receives events, to count, time or log them.
///
/// # Contract
///
/// The observer runs on a thread of its own, behind a queue of 4096 events. It can neither delay
/// nor break a lock. Every client has its own thread and queue.
///
/// | the observer | effect |
/// |---|---|
/// | panics | the panic is logged, and the observer gets the next event |
/// | is slow | events that do not fit into the queue are dropped, and [counted](super::Counts::events_dropped) |
/// | is shared by several clients | it is called by several threads at once, and the events of two clients have no order |
/// | holds a clone of its client | its thread never ends |
/// | waits for [`LockClient::flush`](crate::LockClient::flush) | it waits forever |
/// | has events left when the process exits | these events are lost, unless [`LockClient::drain`](crate::LockClient::drain) was awaited |
///
/// With an observer, every held lock has a small task, which reports the end of a lease that nobody
/// watches.
///
/// # Examples
///
/// ```
/// use lock_core::observe::{Event, EventKind, HoldOutcome, Observer};
/// use std::sync::atomic::{AtomicU64, Ordering};
///
/// #[derive(Debug, Default)]
/// struct CountLosses(AtomicU64);
///
/// impl Observer for CountLosses {
///     fn on_event(&self, event: &Event) {
///         if let EventKind::HoldEnded { outcome: HoldOutcome::Lost(_), .. } = event.kind() {
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
    thread: Option<Thread>,
}

/// The observer's thread, seen from the clients that report to it.
#[derive(Clone, Debug)]
struct Thread {
    queue: SyncSender<Event>,
    progress: Arc<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// How many events were put into the queue. The mutex is held while one is put there, so that
    /// events are counted in the order of the queue.
    sent: Mutex<u64>,
    /// How many of them the observer has received.
    received: AtomicU64,
    /// How many did not fit into the queue.
    dropped: AtomicU64,
    /// Notified when `received` grows.
    grown: Notify,
}

impl Reporter {
    /// Starts the observer's thread; it ends when the last reporter is gone.
    pub(crate) fn start(observer: Arc<dyn Observer>) -> Result<Self> {
        let (queue, events) = sync_channel::<Event>(QUEUE);
        let progress = Arc::<Progress>::default();
        let seen = Arc::clone(&progress);
        std::thread::Builder::new()
            .name("lock-observer".into())
            .spawn(move || {
                for event in events {
                    if catch_unwind(AssertUnwindSafe(|| observer.on_event(&event))).is_err() {
                        tracing::error!(kind = event.kind().name(), "the lock observer panicked");
                    }
                    seen.received.fetch_add(1, Ordering::SeqCst);
                    seen.grown.notify_waiters();
                }
            })
            .map_err(|source| {
                Error::new(ErrorKind::Misconfigured, "the observer's thread did not start")
                    .with_source(source)
            })?;
        Ok(Self { thread: Some(Thread { queue, progress }) })
    }

    /// Returns whether there is an observer.
    pub(crate) fn is_observed(&self) -> bool {
        self.thread.is_some()
    }

    /// Returns whether events of this level are looked at, by an observer or by a log.
    pub(crate) fn is_listening(&self, level: Level) -> bool {
        self.is_observed() || LevelFilter::current() >= level
    }

    /// Sends an event to the log and to the observer. Ask [`is_listening`](Self::is_listening)
    /// before an event is built.
    pub(crate) fn report(&self, event: Event) {
        event.trace();
        let Some(Thread { queue, progress }) = &self.thread else { return };
        let mut sent = progress.sent.lock().unwrap_or_else(PoisonError::into_inner);
        let put = queue.try_send(event);
        *sent += u64::from(put.is_ok());
        drop(sent); // the log may report to this observer as well
        if let Err(TrySendError::Full(event) | TrySendError::Disconnected(event)) = put {
            progress.dropped.fetch_add(1, Ordering::SeqCst);
            let key = event.key();
            tracing::debug!(%key, "the lock observer is too slow, dropped an event");
        }
    }

    /// Returns how many events were dropped.
    pub(crate) fn dropped(&self) -> u64 {
        self.thread.as_ref().map_or(0, |thread| thread.progress.dropped.load(Ordering::SeqCst))
    }

    /// Waits until the observer has received every event that was reported before.
    pub(crate) async fn flush(&self) {
        let Some(Thread { progress, .. }) = &self.thread else { return };
        let reported = *progress.sent.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let grown = progress.grown.notified();
            if progress.received.load(Ordering::SeqCst) >= reported {
                return;
            }
            grown.await;
        }
    }
}
