//! The gate in front of a resource, which refuses stale fencing tokens.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::value::{FencingToken, OwnerFingerprint};

/// Guards a resource against writers whose lease has passed on to somebody else.
///
/// The gate keeps the largest token that it has admitted, and its owner. It refuses a smaller
/// token, and an equal one from another owner (law F1), which covers the one tie that a split store
/// could produce. Keep one gate per resource, on the side of the *resource*: a check inside the
/// lock holder proves nothing, as the holder may be paused right after it.
///
/// Admitting a writer and its write must be one step for the resource, under one lock or in one
/// transaction; otherwise an older write that was admitted can land after a newer one. A database
/// does both with one condition: `UPDATE … SET token = $new WHERE token <= $new`.
///
/// Writers are told apart by their [`OwnerFingerprint`], so no owner token has to leave its holder.
///
/// # Examples
///
/// ```
/// use lock_core::fencing::FencingGate;
/// use lock_core::{FencingToken, OwnerToken};
///
/// let gate = FencingGate::new();
/// let [paused, successor] = [OwnerToken::mint()?.fingerprint(), OwnerToken::mint()?.fingerprint()];
/// let token = |n| FencingToken::new(n).unwrap();
///
/// assert!(gate.admit(token(33), paused).is_ok());
/// assert!(gate.admit(token(34), successor).is_ok());
/// assert!(gate.admit(token(33), paused).is_err()); // woke up too late
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct FencingGate {
    largest: Mutex<Option<(FencingToken, OwnerFingerprint)>>,
}

impl FencingGate {
    /// Opens a gate that has seen no writer yet.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::fencing::FencingGate;
    /// use lock_core::{FencingToken, OwnerFingerprint};
    ///
    /// let gate = FencingGate::new();
    /// let owner = OwnerFingerprint::from_bytes(b"first");
    /// assert!(gate.admit(FencingToken::new(1).unwrap(), owner).is_ok());
    /// ```
    pub const fn new() -> Self {
        Self { largest: Mutex::new(None) }
    }

    /// Reopens a gate at the writer that it had admitted last, after a restart of the resource.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::fencing::FencingGate;
    /// use lock_core::{FencingToken, OwnerFingerprint};
    ///
    /// let (stored, owner) = (FencingToken::new(34).unwrap(), OwnerFingerprint::from_u64(7));
    /// let gate = FencingGate::reopen(stored, owner); // after a restart
    /// let late = FencingToken::new(33).unwrap();
    /// assert!(gate.admit(late, OwnerFingerprint::from_u64(6)).is_err());
    /// ```
    pub const fn reopen(largest: FencingToken, owner: OwnerFingerprint) -> Self {
        Self { largest: Mutex::new(Some((largest, owner))) }
    }

    /// Lets a writer pass and remembers it, or refuses a stale one.
    ///
    /// # Errors
    ///
    /// [`StaleWriter`] when a larger token, or an equal one from another owner, was admitted
    /// before.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::fencing::FencingGate;
    /// use lock_core::{FencingToken, OwnerFingerprint};
    ///
    /// let gate = FencingGate::new();
    /// let writer = |n: u64| (FencingToken::new(n).unwrap(), OwnerFingerprint::from_u64(n));
    /// let (token, owner) = writer(34);
    /// assert!(gate.admit(token, owner).is_ok());
    /// assert!(gate.admit(token, owner).is_ok()); // the same writer writes again
    /// let (late, paused) = writer(33);
    /// assert!(gate.admit(late, paused).is_err());
    /// ```
    pub fn admit(&self, token: FencingToken, owner: OwnerFingerprint) -> Result<(), StaleWriter> {
        let mut largest = self.largest.lock().unwrap_or_else(PoisonError::into_inner);
        match *largest {
            Some((seen, by)) if token < seen || (token == seen && owner != by) => {
                Err(StaleWriter { token, seen })
            }
            _ => {
                *largest = Some((token, owner));
                Ok(())
            }
        }
    }

    /// Returns the largest token admitted so far and its owner, to be stored with the resource.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::fencing::FencingGate;
    /// use lock_core::{FencingToken, OwnerFingerprint};
    ///
    /// let gate = FencingGate::new();
    /// let (token, owner) = (FencingToken::new(34).unwrap(), OwnerFingerprint::from_u64(7));
    /// gate.admit(token, owner)?;
    /// let (token, owner) = gate.largest().expect("a writer was admitted");
    /// println!("store {token} and {} with the data", owner.as_u64());
    /// # Ok::<(), lock_core::fencing::StaleWriter>(())
    /// ```
    pub fn largest(&self) -> Option<(FencingToken, OwnerFingerprint)> {
        *self.largest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says that a writer came with a fencing token that is no longer the newest.
///
/// # Examples
///
/// ```
/// use lock_core::fencing::FencingGate;
/// use lock_core::{FencingToken, OwnerFingerprint};
///
/// let gate = FencingGate::reopen(FencingToken::new(34).unwrap(), OwnerFingerprint::from_u64(7));
/// let late = FencingToken::new(33).unwrap();
/// let stale = gate.admit(late, OwnerFingerprint::from_u64(6)).unwrap_err();
/// assert_eq!((stale.token().get(), stale.largest_seen().get()), (33, 34));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StaleWriter {
    token: FencingToken,
    seen: FencingToken,
}

impl StaleWriter {
    /// Returns the token that was refused.
    pub fn token(&self) -> FencingToken {
        self.token
    }

    /// Returns the largest token that the gate had admitted before.
    pub fn largest_seen(&self) -> FencingToken {
        self.seen
    }
}

impl fmt::Display for StaleWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the writer's fencing token {} is stale: a later holder has written with {}",
            self.token, self.seen
        )
    }
}

impl std::error::Error for StaleWriter {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_the_gate_refuses_smaller_tokens_and_equal_ones_of_another_owner() {
        let token = |n| FencingToken::new(n).unwrap();
        let owner = |n: u8| OwnerFingerprint::from_bytes(&[n]);
        let gate = FencingGate::new();
        assert_eq!(gate.admit(token(5), owner(1)), Ok(()));
        assert_eq!(gate.admit(token(5), owner(1)), Ok(()), "the same writer writes again");
        assert!(gate.admit(token(5), owner(2)).is_err(), "a tie goes to the first");
        assert!(gate.admit(token(4), owner(1)).is_err());
        assert_eq!(gate.admit(token(6), owner(2)), Ok(()));
        assert!(gate.admit(token(5), owner(1)).is_err());
        let (largest, by) = gate.largest().unwrap();
        let reopened = FencingGate::reopen(largest, by);
        assert_eq!(
            reopened.admit(token(5), owner(1)).unwrap_err().to_string(),
            "the writer's fencing token 5 is stale: a later holder has written with 6"
        );
    }
}
