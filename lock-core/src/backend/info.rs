//! What a provider says of itself.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::value::Ttl;

/// A power that some backends have and others lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Capability {
    /// Grants carry a [`FencingToken`](crate::FencingToken) (law F1).
    Fencing,
    /// Fencing tokens can be raised: grants heed a claim's
    /// [`fencing_floor`](crate::Claim::fencing_floor), and [`Lock::raise`](crate::Lock::raise) works.
    FencingFloor,
    /// A holder can pass the key straight on to a waiter of its own client.
    Handover,
    /// Waiters are told of a release (law N1).
    Hints,
    /// `inspect` tells who holds a key (law I1).
    Inspect,
    /// The owner's note is kept beside the lock.
    Metadata,
    /// Waiters can queue in the store, which grants them the key in the order of their arrival.
    Queue,
    /// Leases end by one clock of the store, not by the clocks of its clients.
    ServerClock,
}

impl Capability {
    /// Every capability.
    pub const ALL: [Self; 8] = [
        Self::Fencing,
        Self::FencingFloor,
        Self::Handover,
        Self::Hints,
        Self::Inspect,
        Self::Metadata,
        Self::Queue,
        Self::ServerClock,
    ];

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fencing => "fencing",
            Self::FencingFloor => "fencing floor",
            Self::Handover => "handover",
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
/// let some = Capabilities::of([Capability::Fencing, Capability::Hints]);
/// assert!(some.has(Capability::Fencing) && !some.has(Capability::Inspect));
/// assert_eq!(some.to_string(), "fencing, hints");
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Capabilities(u8);

impl Capabilities {
    /// Collects capabilities into a set.
    pub fn of(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self(capabilities.into_iter().fold(0, |bits, one| bits | one.bit()))
    }

    /// Tells whether a capability is in the set.
    pub const fn has(self, capability: Capability) -> bool {
        self.0 & capability.bit() != 0
    }

    /// Lists the set.
    pub fn iter(self) -> impl Iterator<Item = Capability> {
        Capability::ALL.into_iter().filter(move |one| self.has(*one))
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

/// Describes a provider: its name, what it can do, and its clock if it brings one.
///
/// # Examples
///
/// ```
/// use lock_core::{Capabilities, Capability, ProviderInfo};
///
/// let info = ProviderInfo::new("files", Capabilities::of([Capability::Inspect]));
/// let missing = info.require([Capability::Fencing]).unwrap_err();
/// assert_eq!(
///     missing.to_string(),
///     "the provider `files` does not have the capability `fencing`; it has: inspect"
/// );
/// ```
#[derive(Clone, Debug)]
pub struct ProviderInfo {
    name: Arc<str>,
    capabilities: Capabilities,
    ttls: RangeInclusive<Ttl>,
    clock: Option<Arc<dyn Clock>>,
    store: Option<Arc<str>>,
    resending: bool,
}

impl ProviderInfo {
    /// Describes a provider that keeps every valid [`Ttl`] and brings no clock.
    pub fn new(name: impl Into<Arc<str>>, capabilities: Capabilities) -> Self {
        Self {
            name: name.into(),
            capabilities,
            ttls: Ttl::MIN..=Ttl::MAX,
            clock: None,
            store: None,
            resending: false,
        }
    }

    /// Narrows the ttls that the store can keep; core refuses others before any request.
    #[must_use]
    pub fn with_ttls(mut self, ttls: RangeInclusive<Ttl>) -> Self {
        self.ttls = ttls;
        self
    }

    /// Brings the clock that leases are measured with, so that client and store share one.
    ///
    /// Only for a store inside this process. Without it the client uses
    /// [`SystemClock`](crate::SystemClock).
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Returns the ttls that the store can keep.
    pub fn ttls(&self) -> &RangeInclusive<Ttl> {
        &self.ttls
    }

    /// Says by what the store behind the provider can be told from all others, so that no quorum
    /// takes it for two.
    #[must_use]
    pub fn with_store_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.store = Some(id.into());
        self
    }

    /// Returns what the store can be told by, if the provider knows it.
    pub fn store_id(&self) -> Option<&str> {
        self.store.as_deref()
    }

    /// Declares that the driver may send one request twice by itself.
    ///
    /// The answer to the second copy hides that to the first, so a release that finds nothing to
    /// release may have freed the key a moment before. Without this declaration core takes it for
    /// the proof of a loss (law G4).
    #[must_use]
    pub fn with_resending(mut self, resending: bool) -> Self {
        self.resending = resending;
        self
    }

    /// Returns whether the driver may send one request twice by itself.
    pub fn may_resend(&self) -> bool {
        self.resending
    }

    /// Returns the name, as errors and events show it.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns what the provider can do.
    pub fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    /// Returns the clock that the provider brings.
    pub fn clock(&self) -> Option<&Arc<dyn Clock>> {
        self.clock.as_ref()
    }

    /// Checks a ttl against what the store can keep.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is out of range.
    pub fn check_ttl(&self, ttl: Ttl) -> Result<()> {
        if self.ttls.contains(&ttl) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "the ttl {ttl} is out of range for the provider `{}`, which keeps {} to {}",
                self.name,
                self.ttls.start(),
                self.ttls.end()
            ),
        ))
    }

    /// Checks that the provider can do what the application needs; call it at start-up.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`], naming the provider and the first capability it lacks.
    pub fn require(&self, needed: impl IntoIterator<Item = Capability>) -> Result<()> {
        match needed.into_iter().find(|one| !self.capabilities.has(*one)) {
            None => Ok(()),
            Some(missing) => Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the provider `{}` does not have the capability `{missing}`; it has: {}",
                    self.name, self.capabilities
                ),
            )),
        }
    }
}
