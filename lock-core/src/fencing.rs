//! The gate that protects a resource from writers with stale fencing tokens.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::value::{FencingToken, OwnerFingerprint};

/// Protects a resource from writers whose lease another holder has taken over.
///
/// **Admit a writer and apply its write in one step**, under one mutex or in one transaction.
/// Otherwise an older write can land after a newer one. A database does both with one condition:
/// `UPDATE … SET token = $new WHERE token <= $new`.
///
/// **Keep one gate per resource, beside the resource.** A check inside the lock holder proves
/// nothing, because the holder may be paused right after it.
///
/// The gate remembers the largest token that it has admitted, and the owner of that token:
///
/// | token | owner | result |
/// |---|---|---|
/// | larger | any | admitted |
/// | equal | the same | admitted: the same writer writes again |
/// | equal | another | refused: a store that was split may grant one token twice (law F1) |
/// | smaller | any | refused |
///
/// Owners are identified by their [`OwnerFingerprint`], so no owner token has to leave its holder.
///
/// # Examples
///
/// ```
/// use lock_core::fencing::FencingGate;
/// use lock_core::{FencingToken, OwnerToken};
///
/// let gate = FencingGate::new();
/// let paused = OwnerToken::mint()?.fingerprint();
/// let successor = OwnerToken::mint()?.fingerprint();
/// let token = |n| FencingToken::new(n).unwrap();
///
/// assert!(gate.admit(token(33), paused).is_ok());
/// assert!(gate.admit(token(34), successor).is_ok());
/// assert!(gate.admit(token(33), paused).is_err()); // woke up too late
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct FencingGate {
    /// The largest token admitted and its owner. The token never decreases.
    largest: Mutex<Option<(FencingToken, OwnerFingerprint)>>,
}

impl FencingGate {
    /// Makes a gate that has admitted no writer yet.
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

    /// Makes a gate that continues from the writer that was admitted last.
    ///
    /// Use it after a restart of the resource, with what [`largest`](Self::largest) returned.
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

    /// Admits a writer and remembers it, or refuses a stale one.
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

    /// Returns the largest token admitted so far and its owner.
    ///
    /// Store them with the resource, to [`reopen`](Self::reopen) the gate after a restart.
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

/// Reports that the fencing token of a writer is no longer the newest.
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
/// assert_eq!((stale.token().as_u64(), stale.largest_seen().as_u64()), (33, 34));
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
