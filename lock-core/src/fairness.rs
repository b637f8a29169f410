//! The order in which waiters get a key.

use std::fmt;

/// Sets the order in which the waiters of a key get it.
///
/// The waiters of one client always form one line per key. The setting is about the order among
/// clients.
///
/// | provider | default |
/// |---|---|
/// | with a [`Queue`](crate::Capability::Queue) | [`Turns`](Fairness::Turns) |
/// | without | [`Race`](Fairness::Race) |
///
/// Use one setting for all waiters of a key. Mixing is safe, but `Race` waiters are served last.
///
/// Lockers of other libraries on the same key get their chance under every setting; see
/// [`Busy::contested`](crate::backend::Busy::contested).
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// use lock_core::Fairness;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
///
/// # let store = MemoryProvider::new();
/// let locks = LockClient::builder(store).fairness(Fairness::Turns).build()?;
/// let guard = locks.lock("invoice/42").fairness(Fairness::Fifo).acquire().await?; // this one only
/// # guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fairness {
    /// A released key is free, and the fastest client takes it.
    ///
    /// A client may lose this race many times in a row.
    Race,
    /// Clients queue in the store and take turns.
    ///
    /// In its turn, a client serves its waiters one after the other. While other clients wait, it
    /// serves at most [`Fairness::TURN`] of them. Within a turn, one request releases the key and
    /// grants it to the next waiter. After the turn, the store grants the key to the next client in
    /// the queue. No client starves.
    Turns,
    /// Every waiter has its own place in the queue of the store, so the key is granted in the order
    /// of arrival across all clients.
    ///
    /// Compared with `Turns`, each waiter costs one more request, and each grant one more round
    /// trip.
    Fifo,
}

impl Fairness {
    /// How many waiters of one client are served in a row under [`Fairness::Turns`] while another
    /// client waits. With 8, two clients that never pause had a third fewer turns per second
    /// (measured).
    pub const TURN: u8 = 16;
}

impl fmt::Display for Fairness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Race => "race",
            Self::Turns => "turns",
            Self::Fifo => "fifo",
        })
    }
}
