//! Waiting for signals of a backend.

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::value::FencingToken;

/// How to wait for a key; see [`Lock::watch`](crate::Lock::watch).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchKind {
    /// Be told when the key may be free.
    Hints,
    /// Stand in the store's queue, and be told of the grant as well.
    Queue,
}

/// Tells a waiter something about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// The key may be free: try.
    Hint,
    /// The store's own queue has made this claim the holder, for a short while.
    ///
    /// Core confirms with `try_acquire`, which law E2 answers with this same fencing token: only a
    /// request that core has timed gives a deadline (law G1).
    Granted {
        /// The number of the grant, if the provider has fencing.
        fencing: Option<FencingToken>,
    },
}

/// A place in line: yields a [`Signal`] whenever it is worth to try again.
///
/// The waiter holds the `Watch`, the backend its [`WatchSender`]. Signals that the waiter has not
/// taken yet are merged, as one hint is as good as ten.
///
/// # Examples
///
/// ```
/// use lock_core::{Signal, Watch};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (sender, mut watch) = Watch::channel();
/// assert!(sender.send(Signal::Hint));
/// assert_eq!(watch.next().await, Some(Signal::Hint));
/// drop(watch);
/// assert!(!sender.send(Signal::Hint)); // nobody waits any more
/// # });
/// ```
pub struct Watch {
    signals: mpsc::Receiver<Signal>,
}

/// The backend's end of a [`Watch`].
#[derive(Clone)]
pub struct WatchSender {
    signals: mpsc::Sender<Signal>,
}

impl Watch {
    /// How long a grant by the store's queue lasts at the most until its waiter confirms it: a
    /// waiter that died costs those behind it no more than this.
    pub const CLAIM_WINDOW: Duration = Duration::from_secs(1);

    /// Makes a connected pair.
    pub fn channel() -> (WatchSender, Self) {
        let (sender, signals) = mpsc::channel(1);
        (WatchSender { signals: sender }, Self { signals })
    }

    /// Waits for the next signal; `None` when the backend has ended the watch.
    ///
    /// # Cancel safety
    ///
    /// No signal is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Signal> {
        self.signals.recv().await
    }
}

impl WatchSender {
    /// Signals the waiter, without ever waiting for it; `false` when it has gone.
    pub fn send(&self, signal: Signal) -> bool {
        use mpsc::error::TrySendError;
        !matches!(self.signals.try_send(signal), Err(TrySendError::Closed(_)))
    }

    /// Tells whether the waiter has gone.
    pub fn is_closed(&self) -> bool {
        self.signals.is_closed()
    }

    /// Waits until the waiter has gone, to end a subscription for it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    pub async fn closed(&self) {
        self.signals.closed().await;
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl fmt::Debug for WatchSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WatchSender")
    }
}
