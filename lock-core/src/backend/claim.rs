//! What an acquisition asks for: a key, an owner, a time, a mode, and a note for whoever inspects
//! it.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::value::{LockKey, Metadata, OwnerToken, Ttl};

/// Describes one acquisition of one key, before any request has left.
///
/// Core mints a claim *before* the first byte goes out, so an acquisition whose answer was lost can
/// be repeated (law E2) or undone (law U1) under the same [`OwnerToken`].
///
/// # Examples
///
/// ```
/// use lock_core::backend::{Claim, Ttl};
/// use lock_core::{LockKey, Metadata, OwnerToken};
/// use std::time::Duration;
///
/// let claim = Claim::new(
///     LockKey::new("invoice/42")?,
///     OwnerToken::mint()?,
///     Ttl::new(Duration::from_secs(30))?,
/// )
/// .with_metadata(Metadata::new("worker-7")?);
/// assert_eq!((claim.key().as_str(), claim.ttl().as_millis()), ("invoice/42", 30_000));
/// assert_eq!(claim.metadata().as_bytes(), b"worker-7");
/// println!("owner {}", claim.owner_token().fingerprint());
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    key: LockKey,
    owner: OwnerToken,
    ttl: Ttl,
    mode: Mode,
    metadata: Metadata,
}

/// What else may be held on a key at the same time.
///
/// Every store has exclusive locks. Core binds no claim of another mode to a store that does not
/// declare it.
///
/// # Examples
///
/// ```
/// use lock_core::backend::{Claim, Mode};
/// use std::time::Duration;
///
/// let claim = Claim::mint("invoice/42", Duration::from_secs(30))?;
/// assert_eq!(claim.mode(), Mode::Exclusive);
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Mode {
    /// Nothing.
    #[default]
    Exclusive,
}

impl Mode {
    /// Refuses every mode but [`Exclusive`](Mode::Exclusive): for stores that have no other.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`], naming the mode.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Result;
    /// use lock_core::backend::{Attempt, Claim};
    ///
    /// async fn try_acquire(claim: &Claim) -> Result<Attempt> {
    ///     claim.mode().require_exclusive()?;
    ///     // … ask the store …
    ///     Ok(Attempt::held(None))
    /// }
    /// ```
    pub fn require_exclusive(self) -> Result<()> {
        match self {
            Self::Exclusive => Ok(()),
            #[allow(unreachable_patterns, reason = "other modes follow")]
            other => Err(Error::new(
                ErrorKind::Unsupported,
                format!("this store has exclusive locks only, and the claim is {other}"),
            )),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exclusive => "exclusive",
        })
    }
}

impl Claim {
    /// Makes an exclusive claim without metadata.
    pub fn new(key: LockKey, owner: OwnerToken, ttl: Ttl) -> Self {
        Self { key, owner, ttl, mode: Mode::Exclusive, metadata: Metadata::default() }
    }

    /// Makes an exclusive claim of a fresh owner, for tests and tools that use a provider without a
    /// client.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for a bad key or ttl, [`ErrorKind::Unavailable`] if the operating
    /// system has no random bits.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Claim;
    /// use std::time::Duration;
    ///
    /// let claim = Claim::mint("invoice/42", Duration::from_secs(30))?;
    /// assert_eq!(claim.ttl().as_millis(), 30_000);
    /// assert!(Claim::mint("", Duration::from_secs(30)).unwrap_err().is_invalid());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn mint<K>(key: K, ttl: Duration) -> Result<Self>
    where
        K: TryInto<LockKey>,
        Error: From<K::Error>,
    {
        Ok(Self::new(key.try_into()?, OwnerToken::mint()?, Ttl::new(ttl)?))
    }

    /// Attaches a note that `inspect` shows to others.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Replaces the key; decorators that map keys (a namespace) use this.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::LockKey;
    /// use lock_core::backend::Claim;
    /// use std::time::Duration;
    ///
    /// let claim = Claim::mint("invoice/42", Duration::from_secs(30))?;
    /// let inner = LockKey::new(format!("billing/{}", claim.key()))?;
    /// let same_owner = claim.clone().with_key(inner);
    /// assert_eq!(same_owner.owner_token(), claim.owner_token());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_key(mut self, key: LockKey) -> Self {
        self.key = key;
        self
    }

    /// Returns the key that is claimed.
    pub fn key(&self) -> &LockKey {
        &self.key
    }

    /// Returns the identity of this acquisition, a bearer secret.
    pub fn owner_token(&self) -> &OwnerToken {
        &self.owner
    }

    /// Returns how long a grant lasts unless it is renewed.
    pub fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// Returns what else may be held on the key at the same time.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the note for others.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
