//! The capabilities of a provider.

use super::capability::{Capabilities, Capability};
use super::{Claim, LockProvider};
use crate::value::{LockKey, OwnerToken};

impl Capabilities {
    /// Returns the capabilities of a provider: those it declares, and its optional traits.
    ///
    /// It does no I/O.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Capabilities, Capability};
    ///
    /// let store = lock_memory::MemoryProvider::new();
    /// assert!(Capabilities::of(&store).has(Capability::Queue)); // it has the optional trait
    /// assert!(Capabilities::of(&store).has(Capability::Fencing)); // it declares it
    /// ```
    pub fn of(provider: &dyn LockProvider) -> Self {
        let info = provider.info();
        // Any claim shows which traits a lock has. A valid key cannot be refused.
        let Ok(key) = LockKey::new("k") else { return info.declared() };
        let probe = Claim::new(key, OwnerToken::from_bits([0; 16]), *info.ttls().start());
        let lock = provider.lock(probe);
        let found = [
            (Capability::FencingFloor, lock.as_fencing_floor().is_some()),
            (Capability::HandOver, lock.as_hand_over().is_some()),
            (Capability::Hints, lock.as_hints().is_some()),
            (Capability::Inspect, provider.as_inspect().is_some()),
            (Capability::Queue, lock.as_queue().is_some()),
        ];
        let found = found.into_iter().filter(|(_, has)| *has).map(|(one, _)| one);
        info.declared().iter().chain(found).collect()
    }
}
