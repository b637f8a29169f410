//! The claim of an acquisition: key, owner, ttl, mode and metadata.

use std::fmt;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::value::{LockKey, Metadata, OwnerToken, Ttl};

/// Describes one acquisition of one key.
///
/// Core mints it *before* the first request. So an acquisition whose answer was lost can be
/// repeated (law E2) or undone (law U1) under the same [`OwnerToken`].
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

/// Sets which other grants of a key may exist at the same time.
///
/// Every store supports exclusive locks. A store refuses a claim of a mode that it does not support.
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
    /// No other grant.
    #[default]
    Exclusive,
}

impl Mode {
    /// Refuses every mode except [`Exclusive`](Mode::Exclusive).
    ///
    /// For stores that support no other mode.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] for another mode, which the message names.
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
                format!("the claim is {other}, and this store supports exclusive locks only"),
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
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::{Claim, Mode, Ttl};
    /// use lock_core::{LockKey, OwnerToken};
    /// use std::time::Duration;
    ///
    /// let ttl = Ttl::new(Duration::from_secs(30))?;
    /// let claim = Claim::new(LockKey::new("invoice/42")?, OwnerToken::mint()?, ttl);
    /// assert!(claim.mode() == Mode::Exclusive && claim.metadata().is_empty());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn new(key: LockKey, owner: OwnerToken, ttl: Ttl) -> Self {
        Self { key, owner, ttl, mode: Mode::Exclusive, metadata: Metadata::default() }
    }

    /// Makes an exclusive claim of a fresh owner.
    ///
    /// For tests and tools that use a provider without a client.
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

    /// Adds a note, which `inspect` reports.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Metadata;
    /// use lock_core::backend::Claim;
    /// use std::time::Duration;
    ///
    /// let claim = Claim::mint("invoice/42", Duration::from_secs(30))?;
    /// let claim = claim.with_metadata(Metadata::new("billing@host-3")?);
    /// assert_eq!(claim.metadata().as_bytes(), b"billing@host-3");
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Replaces the key, for decorators that map keys, such as a namespace.
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

    /// Returns the key.
    pub fn key(&self) -> &LockKey {
        &self.key
    }

    /// Returns the identity of this acquisition, which is a bearer secret.
    pub fn owner_token(&self) -> &OwnerToken {
        &self.owner
    }

    /// Returns how long a grant lasts unless it is renewed.
    pub fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// Returns which other grants of the key may exist at the same time.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Returns the note.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }
}
