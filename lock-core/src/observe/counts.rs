//! The numbers that a client keeps itself, because events may be dropped.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// How many locks a client holds and waits for now.
///
/// The numbers are exact, even if the observer has missed events. Without an observer, a lease that
/// ends without notice counts as held until its guard is released or dropped.
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

/// The numbers of one client.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    acquiring: AtomicUsize,
    /// The holds whose end was not reported yet.
    held: AtomicUsize,
    /// The releases and undos that go on in the background.
    background: AtomicUsize,
    /// Notified when `background` falls.
    fallen: Notify,
}

impl Numbers {
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

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::SeqCst)
    }

    pub(crate) fn hold_started(&self) {
        self.held.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn hold_ended(&self) {
        self.held.fetch_sub(1, Ordering::SeqCst);
    }
}
