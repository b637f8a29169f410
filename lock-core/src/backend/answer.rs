//! The answers of the verbs of a lock.

use std::time::Duration;

use crate::value::FencingToken;

/// A grant of a key to its owner.
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
    /// The number of the grant, or `None` if and only if the provider has no fencing.
    pub fencing: Option<FencingToken>,
    /// Reserved for semaphores: the number of the permit. An exclusive grant has none.
    pub seat: Option<u32>,
}

impl Grant {
    /// Describes an exclusive grant by its fencing token, or by `None` if the provider has no
    /// fencing.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::FencingToken;
    /// use lock_core::backend::Grant;
    ///
    /// assert_eq!(Grant::new(FencingToken::new(34)).seat, None);
    /// ```
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
    /// This owner holds the key.
    Granted(Grant),
    /// Another owner holds the key.
    Held(Busy),
    /// This owner can no longer acquire the key. It has released it before, or the backend had to
    /// undo an attempt of this owner (law U1).
    ///
    /// Backends must return this after a release that answered [`Release::NotHeld`]; they may
    /// return it after any release. Core continues with a fresh owner token, unless the application
    /// gave one.
    Undone,
}

impl Attempt {
    /// Answers that this owner holds the key, with this fencing token.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::FencingToken;
    /// use lock_core::backend::Attempt;
    ///
    /// let answer = Attempt::granted(FencingToken::new(34)); // `None` without fencing
    /// assert!(matches!(answer, Attempt::Granted(grant) if grant.fencing.is_some()));
    /// ```
    pub const fn granted(fencing: Option<FencingToken>) -> Self {
        Self::Granted(Grant::new(fencing))
    }

    /// Answers that another owner holds the key.
    ///
    /// `remaining` is how long the lease of that owner has left. If the store does not know it,
    /// waiters find the end of the lease by retrying.
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

/// Describes the present holder of a key to an attempt that was refused.
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
    /// How long the lease has left unless it is renewed.
    ///
    /// `None` if it never expires, or if the store does not know.
    pub remaining: Option<Duration>,
    /// Whether lockers of other libraries compete for the key, or did so within the last second.
    pub contested: bool,
    /// Whether the holder itself is a locker of another library.
    pub foreign: bool,
}

impl Busy {
    /// Describes a holder of this library by how long its lease has left, if the store knows it.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Busy;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Busy::new(Duration::from_secs(12)).remaining, Some(Duration::from_secs(12)));
    /// assert_eq!(Busy::new(None).remaining, None); // the store does not know it
    /// ```
    pub fn new(remaining: impl Into<Option<Duration>>) -> Self {
        Self { remaining: remaining.into(), contested: false, foreign: false }
    }

    /// Adds that lockers of other libraries compete for the key.
    ///
    /// `foreign` is whether one of them holds it.
    ///
    /// These lockers send no hint on release, and wait in no queue. For one second after such a
    /// locker was seen:
    ///
    /// * Core retries every 10 to 50 ms, and less often if the foreign holder keeps the key for
    ///   long.
    /// * Core hands the key to no waiter of its own client.
    /// * A store with a queue leaves a released key free for every owner.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::{Attempt, Busy};
    /// use std::time::Duration;
    ///
    /// // The key holds a value that this library did not write:
    /// let theirs = Attempt::Held(Busy::new(Duration::from_secs(12)).contested(true));
    /// assert!(matches!(theirs, Attempt::Held(busy) if busy.foreign));
    /// ```
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
    /// The lease ends after the given ttl, counted from now. The grant is the same as before.
    Renewed(Grant),
    /// This owner no longer holds the key. Nothing was changed.
    Lost,
}

impl Renewal {
    /// Answers that the lease was renewed, with the fencing token of its grant.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::FencingToken;
    /// use lock_core::backend::{Grant, Renewal};
    ///
    /// let token = FencingToken::new(34); // the token of the grant, unchanged
    /// assert_eq!(Renewal::renewed(token), Renewal::Renewed(Grant::new(token)));
    /// ```
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
    /// This owner held the key, which is free now, and lockers of other libraries compete for it.
    ///
    /// Core then waits for a moment before it acquires the key again (see [`Busy::contested`]).
    Contested,
    /// This owner did not hold the key. The present holder, if any, is not touched.
    NotHeld,
}

impl Release {
    /// The lifetime of a tombstone: one minute (law U1).
    ///
    /// * A backend remembers an owner that released without holding for at least this long.
    /// * No request takes effect more than this long after the release that undoes it.
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
