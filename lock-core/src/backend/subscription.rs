//! What a backend reports to a waiter.

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc;

/// What a waiter is told about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// The key may be free: ask again.
    Hint,
    /// The store's [`Queue`](super::Queue) has granted the key to this claim, for a short while.
    ///
    /// Core confirms with an attempt, which law E2 answers with the token of that grant: only a request
    /// that core has timed gives a deadline (law G1).
    Granted,
}

impl Signal {
    /// How long a grant by the store's queue lasts at most until its waiter confirms it: one second. A
    /// waiter that died costs those behind it no more than this.
    pub const CONFIRM_WINDOW: Duration = Duration::from_secs(1);
}

/// Yields a [`Signal`] whenever it is worth asking for the key again.
///
/// The waiter has the `Subscription`, the backend its [`SignalSender`]. Dropping either end ends the
/// subscription. Signals that the waiter has not taken yet are merged, as one hint is as good as ten.
///
/// # Examples
///
/// ```
/// use lock_core::backend::{Signal, Subscription};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let (sender, mut subscription) = Subscription::channel();
/// assert!(sender.send(Signal::Hint));
/// assert_eq!(subscription.next().await, Some(Signal::Hint));
/// drop(subscription);
/// assert!(!sender.send(Signal::Hint)); // nobody waits any more
/// # });
/// ```
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    signals: mpsc::Receiver<Signal>,
}

/// The backend's end of a [`Subscription`].
#[derive(Clone)]
pub struct SignalSender {
    signals: mpsc::Sender<Signal>,
}

impl Subscription {
    /// Makes a connected pair.
    pub fn channel() -> (SignalSender, Self) {
        let (sender, signals) = mpsc::channel(1);
        (SignalSender { signals: sender }, Self { signals })
    }

    /// Waits for the next signal; `None` when the backend has ended it.
    ///
    /// # Cancel safety
    ///
    /// No signal is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Signal> {
        self.signals.recv().await
    }
}

impl SignalSender {
    /// Signals the waiter, without ever waiting for it; `false` when it has gone.
    pub fn send(&self, signal: Signal) -> bool {
        use mpsc::error::TrySendError;
        !matches!(self.signals.try_send(signal), Err(TrySendError::Closed(_)))
    }

    /// Returns whether the waiter has gone.
    pub fn is_closed(&self) -> bool {
        self.signals.is_closed()
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Subscription")
    }
}

impl fmt::Debug for SignalSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignalSender")
    }
}
