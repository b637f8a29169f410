//! The optional trait of stores that report who holds a key.

use std::time::Duration;

use async_trait::async_trait;

use crate::error::Result;
use crate::value::{FencingToken, LockKey, Metadata, OwnerFingerprint};

/// Reports who holds a key (law I1).
///
/// # Examples
///
/// ```
/// use lock_core::backend::Claim;
/// use lock_core::{LockKey, LockProvider};
/// use std::time::Duration;
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let provider = lock_memory::MemoryProvider::new();
/// let claim = Claim::mint("invoice/42", Duration::from_secs(30))?;
/// let owner = claim.owner_token().fingerprint();
/// let _ = provider.lock(claim).try_acquire().await?;
///
/// let inspect = provider.as_inspect().expect("this store can");
/// let occupancy = inspect.inspect(&LockKey::new("invoice/42")?).await?;
/// assert_eq!(occupancy.holder().map(|holder| holder.owner()), Some(owner));
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[async_trait]
pub trait Inspect: Send + Sync {
    /// Reports who holds a key, without side effects.
    ///
    /// May report an owner whose acquisition is still in flight. The fencing token of that owner
    /// may still increase.
    ///
    /// # Errors
    ///
    /// Those of the store. A key that is free is no error.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing but the answer.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockProvider;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::LockKey;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let store = MemoryProvider::new();
    /// let inspect = store.as_inspect().expect("this store has it");
    /// assert!(inspect.inspect(&LockKey::new("invoice/42")?).await?.is_free());
    /// # Ok(())
    /// # }
    /// ```
    async fn inspect(&self, key: &LockKey) -> Result<Occupancy>;
}

/// Describes the holders of a key, and how many claims wait for it.
///
/// # Examples
///
/// ```
/// use lock_core::{Holder, Occupancy, OwnerToken};
///
/// assert!(Occupancy::free().is_free());
/// let held = Occupancy::held_by(Holder::new(OwnerToken::mint()?.fingerprint())).with_waiting(3);
/// assert_eq!((held.live(), held.waiting()), (1, Some(3)));
/// assert_eq!(held.holder(), held.holders().first());
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Occupancy {
    holders: Vec<Holder>,
    live: usize,
    waiting: Option<usize>,
}

impl Occupancy {
    /// Describes a key that nobody holds.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Occupancy;
    ///
    /// assert!(Occupancy::free().holder().is_none());
    /// ```
    pub fn free() -> Self {
        Self::default()
    }

    /// Describes a key that one owner holds.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Holder, Occupancy, OwnerToken};
    ///
    /// let owner = OwnerToken::mint()?.fingerprint();
    /// assert_eq!(Occupancy::held_by(Holder::new(owner)).live(), 1);
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn held_by(holder: Holder) -> Self {
        Self { holders: vec![holder], live: 1, waiting: None }
    }

    /// Adds how many claims wait for the key in the store, from all clients.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Occupancy;
    ///
    /// assert_eq!(Occupancy::free().with_waiting(3).waiting(), Some(3));
    /// ```
    #[must_use]
    pub fn with_waiting(mut self, waiting: impl Into<Option<usize>>) -> Self {
        self.waiting = waiting.into();
        self
    }

    /// Returns whether nobody holds the key.
    pub fn is_free(&self) -> bool {
        self.live == 0
    }

    /// Returns the holder, or the first one if there are several.
    pub fn holder(&self) -> Option<&Holder> {
        self.holders.first()
    }

    /// Returns the holders that are listed. There may be more of them, see [`live`](Self::live).
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// Returns how many holders there are.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Returns how many claims wait for the key in the store, or `None` if the store does not
    /// report it.
    ///
    /// All waiters of one client may be a single claim in the store (see
    /// [`Fairness`](crate::Fairness)).
    pub fn waiting(&self) -> Option<usize> {
        self.waiting
    }
}

/// One present holder of a key.
///
/// # Examples
///
/// ```
/// use lock_core::{FencingToken, Holder, Metadata, OwnerToken};
/// use std::time::Duration;
///
/// let holder = Holder::new(OwnerToken::mint()?.fingerprint())
///     .with_metadata(Metadata::new("worker-7")?)
///     .with_remaining(Duration::from_secs(12))
///     .with_fencing(FencingToken::new(34));
/// assert_eq!(holder.remaining(), Some(Duration::from_secs(12)));
/// assert_eq!((holder.fencing(), holder.is_foreign()), (FencingToken::new(34), false));
/// println!("{} ({})", holder.owner(), holder.metadata());
/// assert!(Holder::foreign(b"the value of another library").is_foreign());
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    owner: OwnerFingerprint,
    metadata: Metadata,
    remaining: Option<Duration>,
    fencing: Option<FencingToken>,
    foreign: bool,
}

impl Holder {
    /// Describes a holder by its fingerprint alone.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Holder, OwnerToken};
    ///
    /// let holder = Holder::new(OwnerToken::mint()?.fingerprint());
    /// assert!(!holder.is_foreign() && holder.metadata().is_empty());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn new(owner: OwnerFingerprint) -> Self {
        let (metadata, remaining, fencing) = Default::default();
        Self { owner, metadata, remaining, fencing, foreign: false }
    }

    /// Describes a locker of another library by the value that it wrote.
    ///
    /// Use an empty value if it cannot be read.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Holder;
    ///
    /// let (one, other) = (Holder::foreign(b"of redis-py"), Holder::foreign(b"of node-redlock"));
    /// assert!(one.is_foreign() && one.owner() != other.owner());
    /// ```
    pub fn foreign(value: &[u8]) -> Self {
        Self { foreign: true, ..Self::new(OwnerFingerprint::from_bytes(value)) }
    }

    /// Adds the note of the holder.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Holder, Metadata, OwnerToken};
    ///
    /// let holder = Holder::new(OwnerToken::mint()?.fingerprint());
    /// let holder = holder.with_metadata(Metadata::from_stored(b"billing@host-3"));
    /// assert_eq!(holder.metadata().to_string(), "billing@host-3");
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Adds how long the lease has left.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Holder, OwnerToken};
    /// use std::time::Duration;
    ///
    /// let holder = Holder::new(OwnerToken::mint()?.fingerprint());
    /// let holder = holder.with_remaining(Duration::from_secs(12));
    /// assert_eq!(holder.remaining(), Some(Duration::from_secs(12)));
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_remaining(mut self, remaining: impl Into<Option<Duration>>) -> Self {
        self.remaining = remaining.into();
        self
    }

    /// Adds the fencing token of the grant.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{FencingToken, Holder, OwnerToken};
    ///
    /// let holder = Holder::new(OwnerToken::mint()?.fingerprint());
    /// let holder = holder.with_fencing(FencingToken::new(34));
    /// assert_eq!(holder.fencing(), FencingToken::new(34));
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_fencing(mut self, fencing: impl Into<Option<FencingToken>>) -> Self {
        self.fencing = fencing.into();
        self
    }

    /// Returns a hash of the owner token, or of the value that another library wrote.
    pub fn owner(&self) -> OwnerFingerprint {
        self.owner
    }

    /// Returns the note of the holder.
    ///
    /// **Do not trust it.** Any process that may write to the store may have written it.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns how long the lease has left.
    ///
    /// `None` if it never expires, or if the store does not report it.
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining
    }

    /// Returns whether the holder is a locker of another library.
    ///
    /// Such a holder has neither a note nor a fencing token.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Returns the fencing token of the grant, or `None` if the store does not know it for certain.
    pub fn fencing(&self) -> Option<FencingToken> {
        self.fencing
    }
}
