//! A provider that puts a prefix before every key of another.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Attempt, Claim, FencingFloor, HandOver, Hints, Inspect, Lock, LockProvider, Occupancy,
    ProviderInfo, Queue, Release, Renewal, Transfer,
};
use crate::error::{Error, ErrorKind, Result};
use crate::value::{LockKey, Ttl};

/// Puts a prefix before every key of a provider, so that applications can share a store.
///
/// Errors and events show the keys without the prefix.
///
/// Every URL of a [registry](crate::registry::ProviderRegistry) accepts it as the option `prefix`,
/// such as `memory://jobs?prefix=billing:`. A store with its own prefixes, such as Redis, applies
/// those instead.
///
/// **No prefix may begin with another one.** With `a:` and `a:b:`, two applications can use the
/// same key: `b:c` of the one is `c` of the other.
///
/// # Examples
///
/// ```
/// use lock_core::LockClient;
/// use lock_core::backend::Prefixed;
/// use lock_memory::MemoryProvider;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
///
/// let store = MemoryProvider::new();
/// let billing = LockClient::new(Prefixed::new(store.clone(), "billing:")?);
/// let guard = billing.lock("invoice/42").acquire().await?;
///
/// let everything = LockClient::new(store);
/// assert!(!everything.inspect("billing:invoice/42").await?.is_free());
/// # guard.release().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Prefixed<P> {
    provider: P,
    prefix: Arc<str>,
    /// The info of the provider. Its maximum key length is reduced by the length of the prefix.
    info: ProviderInfo,
}

/// The greatest length of a prefix, in bytes.
const MAX_LEN: usize = 256;

impl<P: LockProvider> Prefixed<P> {
    /// Puts `prefix` before every key of `provider`.
    ///
    /// Together they may have as many bytes as the provider
    /// [accepts](ProviderInfo::with_max_key_len). Longer keys are refused as
    /// [`ErrorKind::Invalid`].
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`] when the prefix is longer than 256 bytes, leaves no bytes for the
    /// keys of the provider, or has a control character.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Prefixed;
    /// use lock_memory::MemoryProvider;
    ///
    /// assert!(Prefixed::new(MemoryProvider::new(), "billing:").is_ok());
    /// let wrong = Prefixed::new(MemoryProvider::new(), "two\nlines").unwrap_err();
    /// assert!(wrong.is_misconfigured());
    /// ```
    pub fn new(provider: P, prefix: impl AsRef<str>) -> Result<Self> {
        let prefix = prefix.as_ref();
        if prefix.len() > MAX_LEN {
            let has = prefix.len();
            let message = format!("the key prefix has {has} bytes; the limit is {MAX_LEN}");
            return Err(Error::misconfigured(message));
        }
        if let Some(c) = prefix.chars().find(|c| c.is_control()) {
            let message =
                format!("the key prefix has the control character {c:?}; use printable ones");
            return Err(Error::misconfigured(message));
        }
        let info = provider.info().clone();
        let left = info.max_key_len().saturating_sub(prefix.len());
        if left == 0 {
            let (name, has) = (info.name(), prefix.len());
            let message = format!(
                "the key prefix has {has} bytes, which leaves none for the keys of the provider \
                 `{name}`"
            );
            return Err(Error::misconfigured(message));
        }
        Ok(Self { info: info.with_max_key_len(left), provider, prefix: prefix.into() })
    }

    fn prefixed(&self, key: &LockKey) -> Result<LockKey> {
        self.info.check_key(key)?;
        LockKey::new(format!("{}{key}", self.prefix))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<P: LockProvider> LockProvider for Prefixed<P> {
    fn info(&self) -> &ProviderInfo {
        &self.info
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        match self.prefixed(claim.key()) {
            Ok(key) => Arc::new(PrefixedLock {
                lock: self.provider.lock(claim.with_key(key)),
                prefix: Arc::clone(&self.prefix),
            }),
            Err(error) => Arc::new(TooLong(error)),
        }
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        self.provider.as_inspect().is_some().then_some(self)
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<P: LockProvider> Inspect for Prefixed<P> {
    async fn inspect(&self, key: &LockKey) -> Result<Occupancy> {
        match self.provider.as_inspect() {
            Some(inspect) => inspect.inspect(&self.prefixed(key)?).await,
            None => Err(gone()),
        }
    }
}

/// Makes the error for an optional trait that the provider used to have.
fn gone() -> Error {
    Error::new(ErrorKind::Unsupported, "the provider behind the prefix has lost a capability")
}

/// A lock of the provider, under the longer key.
#[derive(Debug)]
struct PrefixedLock {
    lock: Arc<dyn Lock>,
    prefix: Arc<str>,
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Lock for PrefixedLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        self.lock.try_acquire().await
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        self.lock.renew(ttl).await
    }

    async fn release(&self) -> Result<Release> {
        self.lock.release().await
    }

    fn as_hints(&self) -> Option<&dyn Hints> {
        self.lock.as_hints()
    }

    fn as_queue(&self) -> Option<&dyn Queue> {
        self.lock.as_queue()
    }

    fn as_hand_over(&self) -> Option<&dyn HandOver> {
        self.lock.as_hand_over().is_some().then_some(self)
    }

    fn as_fencing_floor(&self) -> Option<&dyn FencingFloor> {
        self.lock.as_fencing_floor()
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl HandOver for PrefixedLock {
    async fn hand_over(&self, next: &Claim) -> Result<Transfer> {
        let hand_over = self.lock.as_hand_over().ok_or_else(gone)?;
        let key = LockKey::new(format!("{}{}", self.prefix, next.key()))?;
        hand_over.hand_over(&next.clone().with_key(key)).await
    }
}

/// A lock of a key that is too long with its prefix. Every verb fails.
#[derive(Debug)]
struct TooLong(Error);

#[async_trait]
impl Lock for TooLong {
    async fn try_acquire(&self) -> Result<Attempt> {
        Err(self.0.clone())
    }

    async fn renew(&self, _: Ttl) -> Result<Renewal> {
        Err(self.0.clone())
    }

    async fn release(&self) -> Result<Release> {
        Err(self.0.clone())
    }
}
