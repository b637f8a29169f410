//! The capabilities of a provider beyond the three verbs.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

/// A capability that some providers have and others lack.
///
/// Three of them are declared in [`ProviderInfo`](super::ProviderInfo). Each of the others is an
/// optional trait of the [backend contract](crate::backend), and a provider has it if it has the
/// trait.
///
/// # Examples
///
/// ```
/// use lock_core::{Capability, LockClient};
///
/// let locks = LockClient::new(lock_memory::MemoryProvider::new());
/// locks.require([Capability::Fencing, Capability::Queue])?; // fails at start-up, not at night
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Capability {
    /// Grants carry a [`FencingToken`](crate::FencingToken) (law F1).
    Fencing,
    /// Fencing tokens can be raised ([`FencingFloor`](super::FencingFloor)), which a quorum needs.
    FencingFloor,
    /// A release can grant the key to another claim in one step ([`HandOver`](super::HandOver)).
    HandOver,
    /// Releases are reported to waiters (law N1, [`Hints`](super::Hints)).
    Hints,
    /// `inspect` reports who holds a key (law I1, [`Inspect`](super::Inspect)).
    Inspect,
    /// The note of the owner is stored beside the lock.
    Metadata,
    /// The store has a queue, and grants the key in the order of arrival ([`Queue`](super::Queue)).
    Queue,
    /// Leases end by one clock of the store, not by the clocks of the clients.
    ServerClock,
}

impl Capability {
    /// Every capability of this version.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Capabilities, Capability};
    ///
    /// let store = lock_memory::MemoryProvider::new();
    /// for one in Capability::ALL {
    ///     println!("{one}: {}", Capabilities::of(&store).has(*one));
    /// }
    /// ```
    pub const ALL: &[Self] = &[
        Self::Fencing,
        Self::FencingFloor,
        Self::HandOver,
        Self::Hints,
        Self::Inspect,
        Self::Metadata,
        Self::Queue,
        Self::ServerClock,
    ];

    const fn bit(self) -> u64 {
        1 << self as u64
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fencing => "fencing",
            Self::FencingFloor => "fencing floor",
            Self::HandOver => "hand-over",
            Self::Hints => "hints",
            Self::Inspect => "inspect",
            Self::Metadata => "metadata",
            Self::Queue => "queue",
            Self::ServerClock => "server clock",
        })
    }
}

/// A set of [`Capability`].
///
/// # Examples
///
/// ```
/// use lock_core::{Capabilities, Capability};
///
/// let some = Capabilities::from_iter([Capability::Fencing, Capability::Hints]);
/// assert!(some.has(Capability::Fencing) && !some.has(Capability::Inspect));
/// assert_eq!(some.to_string(), "fencing, hints");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u64);

impl Capabilities {
    /// Returns whether a capability is in the set.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Capabilities, Capability};
    ///
    /// let some = Capabilities::from_iter([Capability::Fencing]);
    /// assert!(some.has(Capability::Fencing) && !some.has(Capability::Queue));
    /// ```
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Lists the capabilities in the set.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Capabilities, Capability};
    ///
    /// let some = Capabilities::from_iter([Capability::Hints, Capability::Fencing]);
    /// assert!(some.iter().eq([Capability::Fencing, Capability::Hints]));
    /// ```
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.iter().copied().filter(move |one| self.has(*one))
    }

    /// Checks that the set of the provider with this name contains what the application needs.
    pub(crate) fn require(
        self,
        provider: &str,
        needed: impl IntoIterator<Item = Capability>,
    ) -> Result<()> {
        match needed.into_iter().find(|one| !self.has(*one)) {
            None => Ok(()),
            Some(missing) => Err(self.lack(provider, missing)),
        }
    }

    /// Makes the error for a capability that the provider with this name lacks.
    pub(crate) fn lack(self, provider: &str, missing: Capability) -> Error {
        let message = format!(
            "the provider `{provider}` does not have the capability `{missing}`; it has: {self}"
        );
        Error::new(ErrorKind::Unsupported, message)
    }
}

impl FromIterator<Capability> for Capabilities {
    fn from_iter<I: IntoIterator<Item = Capability>>(capabilities: I) -> Self {
        Self(capabilities.into_iter().fold(0, |bits, one| bits | one.bit()))
    }
}

impl fmt::Display for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.iter().map(|one| one.to_string()).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(", "))
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
