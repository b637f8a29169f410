//! What the verbs of a lock answer.

use std::time::Duration;

use crate::value::FencingToken;

/// What a grant gives to its owner.
///
/// # Examples
///
/// ```
/// use lock_core::FencingToken;
/// use lock_core::backend::{Attempt, Grant};
///
/// let token = FencingToken::new(34);
/// assert_eq!(Attempt::Granted(Grant::new(token)), Attempt::granted(token));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grant {
    /// The number of the grant; `None` if and only if the provider has no fencing.
    pub fencing: Option<FencingToken>,
    /// Which of several permits it is. An exclusive grant has none.
    pub seat: Option<u32>,
}

impl Grant {
    /// Describes an exclusive grant by its fencing token; `None` if the provider has no fencing.
    pub const fn new(fencing: Option<FencingToken>) -> Self {
        Self { fencing, seat: None }
    }
}

/// Answers [`Lock::try_acquire`](super::Lock::try_acquire) and the other attempts.
///
/// # Examples
///
/// ```
/// use lock_core::backend::Attempt;
///
/// fn describe(attempt: Attempt) -> String {
///     match attempt {
///         Attempt::Granted(grant) => format!("granted with {:?}", grant.fencing),
///         Attempt::Held(busy) => format!("held for {:?} more", busy.remaining),
///         Attempt::Undone => "this owner has released, mint another one".into(),
///     }
/// }
/// assert_eq!(describe(Attempt::granted(None)), "granted with None");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "only a granted attempt is a lock"]
pub enum Attempt {
    /// The key is this owner's.
    Granted(Grant),
    /// The key is another owner's.
    Held(Busy),
    /// This owner cannot acquire any more. It has released before, or the backend had to undo an
    /// attempt of it (law U1).
    ///
    /// Backends must return this after a release that answered [`Release::NotHeld`]; they may
    /// return it after any release. Core continues with a fresh owner token, unless the application
    /// gave one.
    Undone,
}

impl Attempt {
    /// Answers that the key is this owner's, with this fencing token.
    pub const fn granted(fencing: Option<FencingToken>) -> Self {
        Self::Granted(Grant::new(fencing))
    }

    /// Answers that the key is another owner's, whose lease has this much left, if the store knows.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::{Attempt, Busy};
    /// use std::time::Duration;
    ///
    /// let left = Duration::from_secs(12);
    /// assert_eq!(Attempt::held(left), Attempt::Held(Busy::new(left)));
    /// ```
    pub fn held(remaining: impl Into<Option<Duration>>) -> Self {
        Self::Held(Busy::new(remaining))
    }
}

/// What an attempt has learned about the present holder.
///
/// # Examples
///
/// ```
/// use lock_core::backend::Busy;
/// use std::time::Duration;
///
/// let ours = Busy::new(Duration::from_secs(12));
/// assert!(!ours.foreign && !ours.contested);
/// let theirs = Busy::new(None).contested(true); // a lock of another library, without an expiry
/// assert!(theirs.foreign && theirs.contested);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Busy {
    /// How long the lease has left unless it is renewed; `None` if it never expires or the store
    /// cannot tell.
    pub remaining: Option<Duration>,
    /// Lockers of other libraries compete for the key, or did within the last second.
    pub contested: bool,
    /// The holder itself is a locker of another library.
    pub foreign: bool,
}

impl Busy {
    /// Describes a holder of ours by how long its lease has left, if the store knows.
    pub fn new(remaining: impl Into<Option<Duration>>) -> Self {
        Self { remaining: remaining.into(), contested: false, foreign: false }
    }

    /// Adds that lockers of other libraries compete for the key; `foreign` if one of them holds it.
    ///
    /// Their releases reach no waiter of ours, and they wait in no queue. So core asks again every
    /// 10 to 50 ms, or less often if the foreign holder keeps the key for long, and passes the key
    /// on to no waiter of its own for one second. A store that has a queue does the same: for a
    /// second after a foreign holder was seen, a released key is free for everybody.
    #[must_use]
    pub const fn contested(mut self, foreign: bool) -> Self {
        (self.contested, self.foreign) = (true, foreign);
        self
    }
}

/// Answers [`Lock::renew`](super::Lock::renew).
///
/// # Examples
///
/// ```
/// use lock_core::FencingToken;
/// use lock_core::backend::Renewal;
///
/// fn answer(rows_changed: u64, stored: u64) -> Renewal {
///     if rows_changed == 1 { Renewal::renewed(FencingToken::new(stored)) } else { Renewal::Lost }
/// }
/// assert_eq!(answer(0, 0), Renewal::Lost);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a lock that was not renewed is lost"]
pub enum Renewal {
    /// The lease ends the given ttl from now. The grant is the same as before.
    Renewed(Grant),
    /// The lease is not this owner's any more. Nothing was changed.
    Lost,
}

impl Renewal {
    /// Answers that the lease was renewed, with the fencing token of its grant.
    pub const fn renewed(fencing: Option<FencingToken>) -> Self {
        Self::Renewed(Grant::new(fencing))
    }
}

/// Answers [`Lock::release`](super::Lock::release).
///
/// # Examples
///
/// ```
/// use lock_core::backend::Release;
///
/// fn answer(rows_deleted: u64) -> Release {
///     if rows_deleted == 1 { Release::Released } else { Release::NotHeld }
/// }
/// assert_eq!(answer(0), Release::NotHeld);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a lock that was not held when it was released had been lost"]
pub enum Release {
    /// This owner held the key. Now it is free.
    Released,
    /// This owner held the key. Now it is free, and lockers of other libraries compete for it, so
    /// this client leaves it to them for a moment (see [`Busy::contested`]).
    Contested,
    /// This owner did not hold the key. Whoever holds it was not touched.
    NotHeld,
}

impl Release {
    /// How long a backend remembers an owner that released without holding, at least (law U1), and
    /// how much later than its undo a request may take effect, at most: one minute.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Release;
    ///
    /// // A store that counts in seconds:
    /// let expiry = Release::TOMBSTONE.as_secs();
    /// assert_eq!(expiry, 60);
    /// ```
    pub const TOMBSTONE: Duration = Duration::from_secs(60);
}
