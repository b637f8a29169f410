//! The description that a provider gives of itself.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::{Capabilities, Capability};
use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::value::{LockKey, Ttl};

/// Describes a provider: its name, what it promises, and its clock if it brings one.
///
/// # Examples
///
/// ```
/// use lock_core::backend::{ProviderInfo, Ttl};
///
/// let day = Ttl::new(std::time::Duration::from_secs(24 * 60 * 60))?;
/// let info = ProviderInfo::new("files").with_fencing(true).with_ttls(Ttl::MIN..=day);
/// assert_eq!(info.declared().to_string(), "fencing");
/// assert_eq!(
///     info.check_ttl(Ttl::new(2 * day.as_duration())?).unwrap_err().to_string(),
///     "the ttl 2days is out of range for the provider `files`, which keeps 1ms to 1day"
/// );
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ProviderInfo {
    name: Arc<str>,
    fencing: bool,
    metadata: bool,
    server_clock: bool,
    resending: bool,
    ttls: RangeInclusive<Ttl>,
    max_key_len: usize,
    clock: Option<Arc<dyn Clock>>,
    store: Option<Arc<str>>,
}

impl ProviderInfo {
    /// Describes a provider that declares no capability, supports every valid [`Ttl`], and brings
    /// no clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderInfo;
    ///
    /// let info = ProviderInfo::new("files");
    /// assert_eq!((info.name(), info.declared().to_string().as_str()), ("files", "none"));
    /// ```
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            fencing: false,
            metadata: false,
            server_clock: false,
            resending: false,
            ttls: Ttl::MIN..=Ttl::MAX,
            max_key_len: LockKey::MAX_LEN,
            clock: None,
            store: None,
        }
    }

    /// Declares that grants carry fencing tokens ([`Capability::Fencing`], law F1).
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Capability;
    /// use lock_core::backend::ProviderInfo;
    ///
    /// let info = ProviderInfo::new("files").with_fencing(true);
    /// assert!(info.declared().has(Capability::Fencing));
    /// ```
    #[must_use]
    pub fn with_fencing(mut self, fencing: bool) -> Self {
        self.fencing = fencing;
        self
    }

    /// Declares that the note of the owner is stored beside the lock ([`Capability::Metadata`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Capability;
    /// use lock_core::backend::ProviderInfo;
    ///
    /// let info = ProviderInfo::new("files").with_metadata(true);
    /// assert!(info.declared().has(Capability::Metadata));
    /// ```
    #[must_use]
    pub fn with_metadata(mut self, metadata: bool) -> Self {
        self.metadata = metadata;
        self
    }

    /// Declares that leases end by one clock of the store ([`Capability::ServerClock`]).
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Capability;
    /// use lock_core::backend::ProviderInfo;
    ///
    /// let info = ProviderInfo::new("files").with_server_clock(true);
    /// assert!(info.declared().has(Capability::ServerClock));
    /// ```
    #[must_use]
    pub fn with_server_clock(mut self, server_clock: bool) -> Self {
        self.server_clock = server_clock;
        self
    }

    /// Returns the declared capabilities.
    ///
    /// [`Capabilities::of`] adds the optional traits of the provider.
    pub fn declared(&self) -> Capabilities {
        let all = [
            (Capability::Fencing, self.fencing),
            (Capability::Metadata, self.metadata),
            (Capability::ServerClock, self.server_clock),
        ];
        all.into_iter().filter(|(_, has)| *has).map(|(one, _)| one).collect()
    }

    /// Sets the range of ttls that the store supports.
    ///
    /// Core refuses other ttls before any request.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::{ProviderInfo, Ttl};
    /// use std::time::Duration;
    ///
    /// let second = Ttl::new(Duration::from_secs(1))?; // this store counts in seconds
    /// let info = ProviderInfo::new("files").with_ttls(second..=Ttl::MAX);
    /// assert_eq!(*info.ttls().start(), second);
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_ttls(mut self, ttls: RangeInclusive<Ttl>) -> Self {
        self.ttls = ttls;
        self
    }

    /// Sets the clock with which clients measure leases.
    ///
    /// | the store is | clock of the store | `with_clock` |
    /// |---|---|---|
    /// | elsewhere | its own | no; clients use the [`SystemClock`](crate::clock::SystemClock) |
    /// | in this process | a [`TokioClock`](crate::clock::TokioClock), which tests can pause | the same clock |
    /// | in this process | `Instant::now()` | no; tests of it run in real time |
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderInfo;
    /// use lock_core::clock::TokioClock;
    /// use std::sync::Arc;
    ///
    /// let info = ProviderInfo::new("in-process").with_clock(Arc::new(TokioClock::new()));
    /// assert!(info.clock().is_some());
    /// ```
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Returns the range of ttls that the store supports.
    pub fn ttls(&self) -> &RangeInclusive<Ttl> {
        &self.ttls
    }

    /// Sets an identity of the store behind the provider.
    ///
    /// It distinguishes the store from all others, so that a quorum does not count one store twice.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderInfo;
    ///
    /// let info = ProviderInfo::new("files").with_store_id("inode 4711 of /dev/sda1");
    /// assert_eq!(info.store_id(), Some("inode 4711 of /dev/sda1"));
    /// ```
    #[must_use]
    pub fn with_store_id(mut self, id: impl Into<Arc<str>>) -> Self {
        self.store = Some(id.into());
        self
    }

    /// Returns the identity of the store, if the provider knows it.
    pub fn store_id(&self) -> Option<&str> {
        self.store.as_deref()
    }

    /// Declares that the driver may send one request twice.
    ///
    /// The first copy of a release may then free the key, and core sees only the answer of the
    /// second, which is [`NotHeld`](super::Release::NotHeld). Without this declaration, core
    /// reports that answer as a loss (law G4).
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderInfo;
    ///
    /// let info = ProviderInfo::new("files").with_resending(true);
    /// assert!(info.may_resend());
    /// ```
    #[must_use]
    pub fn with_resending(mut self, resending: bool) -> Self {
        self.resending = resending;
        self
    }

    /// Returns whether the driver may send one request twice.
    pub fn may_resend(&self) -> bool {
        self.resending
    }

    /// Returns the name, as errors and events show it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the name for an error or event, which keeps it.
    pub(crate) fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Returns the clock that the provider brings.
    pub fn clock(&self) -> Option<&Arc<dyn Clock>> {
        self.clock.as_ref()
    }

    /// Sets the maximum length of a key, in bytes. The default is [`LockKey::MAX_LEN`], and no
    /// provider can exceed it.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::LockKey;
    /// use lock_core::backend::ProviderInfo;
    ///
    /// let info = ProviderInfo::new("mysql").with_max_key_len(64); // the limit of `GET_LOCK`
    /// let error = info.check_key(&LockKey::new("k".repeat(65))?).unwrap_err();
    /// assert!(error.is_invalid());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    #[must_use]
    pub fn with_max_key_len(mut self, bytes: usize) -> Self {
        self.max_key_len = bytes.min(LockKey::MAX_LEN);
        self
    }

    /// Returns the maximum length of a key, in bytes.
    pub fn max_key_len(&self) -> usize {
        self.max_key_len
    }

    /// Checks that a key is not too long for the store. Core does this before the first request.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when the key is too long.
    pub fn check_key(&self, key: &LockKey) -> Result<()> {
        let (has, most) = (key.as_str().len(), self.max_key_len);
        if has <= most {
            return Ok(());
        }
        let name = &self.name;
        let message =
            format!("the lock key has {has} bytes; the limit of the provider `{name}` is {most}");
        Err(Error::new(ErrorKind::Invalid, message))
    }

    /// Checks that the store supports a ttl.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::{ProviderInfo, Ttl};
    /// use std::time::Duration;
    ///
    /// let day = Ttl::new(Duration::from_secs(24 * 60 * 60))?;
    /// let info = ProviderInfo::new("files").with_ttls(Ttl::MIN..=day);
    /// assert!(info.check_ttl(day).is_ok());
    /// assert!(info.check_ttl(Ttl::MAX).unwrap_err().is_invalid());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn check_ttl(&self, ttl: Ttl) -> Result<()> {
        if self.ttls.contains(&ttl) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "the ttl {ttl} is out of range for the provider `{}`, which keeps {} to {}",
                self.name,
                self.ttls.start(),
                self.ttls.end()
            ),
        ))
    }
}
