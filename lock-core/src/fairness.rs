//! The choice of who gets a key next.

use std::fmt;

/// Who gets the key next when many wait for it.
///
/// The waiters of one client always stand in one line. The choice is about the clients: by default it
/// is [`Turns`](Fairness::Turns) where the provider has a [`Queue`](crate::Capability::Queue), else
/// [`Race`](Fairness::Race).
///
/// Use one setting for all waiters of a key. Mixing is safe, but `Race` waiters are served last.
///
/// Lockers of other libraries on the same key have turns under every setting; see
/// [`Attempt::Contested`](crate::Attempt::Contested).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fairness {
    /// A released key is free, every waiting client is told, and the fastest takes it.
    ///
    /// A client may be unlucky for long.
    Race,
    /// Clients queue in the store and take turns; in its turn a client serves up to
    /// [`Fairness::TURN`] of its waiters one after the other, if others wait as well.
    ///
    /// Within a turn a release is the next acquisition, in one request; between turns the store
    /// grants the key to the next client in line. Nobody starves.
    Turns,
    /// Every waiter queues in the store for itself, so keys are granted in the order of arrival
    /// across all clients.
    ///
    /// Costs a request more for each waiter than `Turns`, and one more round trip for each grant.
    Fifo,
}

impl Fairness {
    /// How many waiters of one client are served in a row under [`Fairness::Turns`] while another
    /// client waits. With 8, two clients that never pause had a third fewer turns per second (measured).
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
