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
    /// An owner whose acquisition has not been answered yet may be reported; its fencing token may
    /// still grow then.
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

/// Who holds a key, and how many wait for it.
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
    pub fn free() -> Self {
        Self::default()
    }

    /// Describes a key that one owner holds.
    pub fn held_by(holder: Holder) -> Self {
        Self { holders: vec![holder], live: 1, waiting: None }
    }

    /// Adds how many claims wait for the key in the store, of this and other clients.
    #[must_use]
    pub fn with_waiting(mut self, waiting: impl Into<Option<usize>>) -> Self {
        self.waiting = waiting.into();
        self
    }

    /// Returns whether nobody holds the key.
    pub fn is_free(&self) -> bool {
        self.live == 0
    }

    /// Returns the holder; the first one if there are several.
    pub fn holder(&self) -> Option<&Holder> {
        self.holders.first()
    }

    /// Returns the holders. There may be more of them than are listed: see [`live`](Self::live).
    pub fn holders(&self) -> &[Holder] {
        &self.holders
    }

    /// Returns how many holders there are.
    pub fn live(&self) -> usize {
        self.live
    }

    /// Returns how many claims wait for the key in the store; `None` if the store cannot tell.
    ///
    /// The waiters of one client may be one claim to the store (see [`Fairness`](crate::Fairness)).
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
    pub fn new(owner: OwnerFingerprint) -> Self {
        let (metadata, remaining, fencing) = Default::default();
        Self { owner, metadata, remaining, fencing, foreign: false }
    }

    /// Describes a locker of another library by what it wrote, or by nothing if that cannot be
    /// read.
    pub fn foreign(value: &[u8]) -> Self {
        Self { foreign: true, ..Self::new(OwnerFingerprint::from_bytes(value)) }
    }

    /// Adds its note.
    #[must_use]
    pub fn with_metadata(mut self, metadata: Metadata) -> Self {
        self.metadata = metadata;
        self
    }

    /// Adds how long its lease has left.
    #[must_use]
    pub fn with_remaining(mut self, remaining: impl Into<Option<Duration>>) -> Self {
        self.remaining = remaining.into();
        self
    }

    /// Adds the fencing token of its grant.
    #[must_use]
    pub fn with_fencing(mut self, fencing: impl Into<Option<FencingToken>>) -> Self {
        self.fencing = fencing.into();
        self
    }

    /// Returns a hash of its owner token, or of the foreign value at the key.
    pub fn owner(&self) -> OwnerFingerprint {
        self.owner
    }

    /// Returns its note, which anybody may have written.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Returns how long the lease has left; `None` if it never expires or the store cannot tell.
    pub fn remaining(&self) -> Option<Duration> {
        self.remaining
    }

    /// Returns whether the holder is a locker of another library, which has neither a note nor a
    /// fencing token of ours.
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Returns the fencing token of the grant; `None` if the store cannot tell it for certain.
    pub fn fencing(&self) -> Option<FencingToken> {
        self.fencing
    }
}
