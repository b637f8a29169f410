//! The numbers that a client keeps itself, because events may be dropped.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use slab::Slab;
use tokio::sync::Notify;

/// How many locks a client holds and waits for now.
///
/// The numbers are exact, even if the observer has missed events.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
/// # let locks = LockClient::new(MemoryProvider::new());
///
/// let guard = locks.lock("invoice/42").acquire().await?;
/// assert_eq!((locks.counts().held, locks.counts().acquiring), (1, 0));
/// guard.release().await?;
/// assert_eq!(locks.counts().held, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// How many locks are held, as [`Lease::is_held`](crate::Lease::is_held) reports.
    pub held: usize,
    /// How many acquisitions have begun and not ended.
    pub acquiring: usize,
    /// How many events did not fit into the queue of the observer since the client was made.
    pub events_dropped: u64,
}

/// A lock that knows whether it is held.
pub(crate) trait Live: Send + Sync {
    fn is_live(&self) -> bool;
}

/// The numbers of one client.
#[derive(Default)]
pub(crate) struct Numbers {
    acquiring: AtomicUsize,
    /// The releases and undos that go on in the background.
    background: AtomicUsize,
    /// Notified when `background` falls.
    fallen: Notify,
    /// The holds that nobody has ended. Leases may have ended by themselves, without notice.
    holds: Mutex<Slab<Weak<dyn Live>>>,
}

/// The place of a hold in the numbers of its client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held(NonZeroUsize);

impl Numbers {
    fn holds(&self) -> MutexGuard<'_, Slab<Weak<dyn Live>>> {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn acquiring(&self) -> usize {
        self.acquiring.load(Ordering::SeqCst)
    }

    pub(crate) fn acquire_started(&self) {
        self.acquiring.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn acquire_ended(&self) {
        self.acquiring.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn background_started(&self) {
        self.background.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn background_ended(&self) {
        self.background.fetch_sub(1, Ordering::SeqCst);
        self.fallen.notify_waiters();
    }

    /// Waits until nothing goes on in the background.
    pub(crate) async fn background_idle(&self) {
        loop {
            let fallen = self.fallen.notified();
            if self.background.load(Ordering::SeqCst) == 0 {
                return;
            }
            fallen.await;
        }
    }

    /// Counts the holds that are live. It takes time in proportion to their number.
    pub(crate) fn held(&self) -> usize {
        // Collected first, because a hold reads the clock of the application.
        let holds: Vec<_> = self.holds().iter().filter_map(|(_, hold)| hold.upgrade()).collect();
        holds.iter().filter(|hold| hold.is_live()).count()
    }

    pub(crate) fn hold_started(&self, hold: Weak<dyn Live>) -> Held {
        // Its number plus one, which keeps an optional place as small as a number.
        Held(NonZeroUsize::MIN.saturating_add(self.holds().insert(hold)))
    }

    pub(crate) fn hold_ended(&self, Held(place): Held) {
        let _ = self.holds().try_remove(place.get() - 1);
    }
}

impl fmt::Debug for Numbers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Numbers").field("acquiring", &self.acquiring()).finish_non_exhaustive()
    }
}
