//! What an acquisition asks for: a key, an owner, a time, and a note for whoever inspects it.

use crate::value::{FencingToken, LockKey, Metadata, OwnerToken, Ttl};

/// Describes one acquisition of one key, before any request has left.
///
/// A claim is minted by core *before* the first byte goes out, so an acquisition whose answer was
/// lost can be repeated (law E2) or undone (law U1) under the same [`OwnerToken`].
///
/// # Examples
///
/// ```
/// use lock_core::{Claim, LockKey, Metadata, OwnerToken, Ttl};
/// use std::time::Duration;
///
/// let claim = Claim::new(
///     LockKey::new("invoice/42")?,
///     OwnerToken::mint()?,
///     Ttl::new(Duration::from_secs(30))?,
/// )
/// .with_metadata(Metadata::new("worker-7")?);
/// assert_eq!(claim.key().as_str(), "invoice/42");
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    key: LockKey,
    owner: OwnerToken,
    ttl: Ttl,
    metadata: Metadata,
    fencing_floor: Option<FencingToken>,
}

impl Claim {
    /// Makes a claim without metadata.
    pub fn new(key: LockKey, owner: OwnerToken, ttl: Ttl) -> Self {
        Self { key, owner, ttl, metadata: Metadata::default(), fencing_floor: None }
    }

    /// Attaches a note that `inspect` shows to others.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Asks for a fencing token that is no smaller, if the grant mints one and the store's clock is
    /// not far behind; a quorum does, so that its nodes agree at once. See [`Lock::raise`].
    ///
    /// [`Lock::raise`]: crate::Lock::raise
    #[must_use]
    pub fn with_fencing_floor(mut self, floor: impl Into<Option<FencingToken>>) -> Self {
        self.fencing_floor = floor.into();
        self
    }

    /// Replaces the key; decorators that map keys (a namespace) use this.
    #[must_use]
    pub fn with_key(mut self, key: LockKey) -> Self {
        self.key = key;
        self
    }

    /// Returns the key that is claimed.
    pub fn key(&self) -> &LockKey {
        &self.key
    }

    /// Returns the identity of this acquisition.
    pub fn owner(&self) -> &OwnerToken {
        &self.owner
    }

    /// Returns how long a grant lasts unless it is renewed.
    pub fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// Returns the fencing token that a new grant should not fall below.
    pub fn fencing_floor(&self) -> Option<FencingToken> {
        self.fencing_floor
    }

    /// Returns the note for others.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
