//! Signals from a backend to a waiter.

use std::fmt;
use std::time::Duration;

use tokio::sync::mpsc;

/// A signal to a waiter about its key.
///
/// # Examples
///
/// ```
/// use lock_core::backend::Signal;
///
/// fn what_to_do(signal: Signal) -> &'static str {
///     match signal {
///         Signal::Hint => "ask again: it may be free",
///         Signal::Granted => "confirm within a second",
///         _ => "ask again",
///     }
/// }
/// assert_eq!(what_to_do(Signal::Hint), "ask again: it may be free");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Signal {
    /// The key may be free, so ask again.
    Hint,
    /// The [`Queue`](super::Queue) of the store has granted the key to this claim, for a short
    /// time.
    ///
    /// Core confirms the grant with an attempt. The answer has the token of that grant (law E2),
    /// and core counts the deadline from that request (law G1).
    Granted,
}

impl Signal {
    /// The time in which a waiter must confirm a grant of the queue: one second.
    ///
    /// A dead waiter delays those behind it by no more than this.
    pub const CONFIRM_WINDOW: Duration = Duration::from_secs(1);
}

/// Receives the [`Signal`]s of a backend about one key.
///
/// The waiter has the `Subscription`, and the backend has its [`SignalSender`]. Dropping either of
/// them ends the subscription. While a signal waits to be received, further signals are merged with
/// it.
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
/// assert!(!sender.send(Signal::Hint)); // the waiter has gone
/// # });
/// ```
#[must_use = "dropping a subscription ends it"]
pub struct Subscription {
    signals: mpsc::Receiver<Signal>,
}

/// Sends the signals of a [`Subscription`], from the backend to the waiter.
///
/// # Examples
///
/// ```
/// use lock_core::backend::{Signal, SignalSender};
///
/// /// A store that reports each release to every waiter of the key.
/// fn released(waiters: &mut Vec<SignalSender>) {
///     waiters.retain(|waiter| waiter.send(Signal::Hint)); // those that have gone are dropped
/// }
/// ```
#[derive(Clone)]
pub struct SignalSender {
    signals: mpsc::Sender<Signal>,
}

impl Subscription {
    /// Makes a subscription and its sender.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Subscription;
    ///
    /// let (sender, subscription) = Subscription::channel(); // keep one, return the other
    /// drop(subscription);
    /// assert!(sender.is_closed());
    /// ```
    pub fn channel() -> (SignalSender, Self) {
        let (sender, signals) = mpsc::channel(1);
        (SignalSender { signals: sender }, Self { signals })
    }

    /// Waits for the next signal, or returns `None` when the backend has ended the subscription.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses no signal.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::{Signal, Subscription};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let (sender, mut subscription) = Subscription::channel();
    /// sender.send(Signal::Hint);
    /// drop(sender); // the store cannot keep it any longer
    /// assert_eq!(subscription.next().await, Some(Signal::Hint));
    /// assert_eq!(subscription.next().await, None);
    /// # Ok(())
    /// # }
    /// ```
    pub async fn next(&mut self) -> Option<Signal> {
        self.signals.recv().await
    }
}

impl SignalSender {
    /// Sends a signal without waiting, and returns whether the waiter still listens.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::{Signal, Subscription};
    ///
    /// let (sender, subscription) = Subscription::channel();
    /// assert!(sender.send(Signal::Hint));
    /// assert!(sender.send(Signal::Hint)); // merged with the one before
    /// drop(subscription);
    /// assert!(!sender.send(Signal::Hint));
    /// ```
    pub fn send(&self, signal: Signal) -> bool {
        use mpsc::error::TrySendError;
        !matches!(self.signals.try_send(signal), Err(TrySendError::Closed(_)))
    }

    /// Returns whether the waiter has dropped the subscription.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Subscription;
    ///
    /// let (sender, subscription) = Subscription::channel();
    /// assert!(!sender.is_closed());
    /// drop(subscription);
    /// assert!(sender.is_closed());
    /// ```
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
