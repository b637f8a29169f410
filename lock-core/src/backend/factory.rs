//! The factory that makes a provider from a URL.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{LockProvider, ProviderUrl};
use crate::error::Result;

/// Makes providers from the URLs of some schemes.
///
/// Every backend crate has one.
///
/// # For implementors
///
/// * Read every option through [`ProviderUrl::options`], which refuses unknown ones.
/// * Connect to the server and check it before you return, because an application wants to fail at
///   start-up. Bound the time of that.
/// * Never put a password into a message. `ProviderUrl` shows none.
///
/// # Examples
///
/// ```
/// use lock_core::backend::{ProviderFactory, ProviderUrl, async_trait};
/// use lock_core::{LockProvider, Result};
/// use std::sync::Arc;
///
/// #[derive(Debug)]
/// struct Scratch;
///
/// #[async_trait]
/// impl ProviderFactory for Scratch {
///     fn schemes(&self) -> &[&str] {
///         &["scratch"]
///     }
///
///     async fn connect(&self, url: &ProviderUrl) -> Result<Arc<dyn LockProvider>> {
///         url.require_scheme_only()?;
///         Ok(Arc::new(lock_memory::MemoryProvider::new()))
///     }
/// }
/// ```
#[async_trait]
pub trait ProviderFactory: Debug + Send + Sync + 'static {
    /// Lists the URL schemes that it serves, in lower case.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderFactory;
    ///
    /// assert_eq!(lock_memory::factory().schemes(), ["memory"]);
    /// ```
    fn schemes(&self) -> &[&str];

    /// Connects to the store that the URL names.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) | the URL can never work |
    /// | [`ErrorKind::Denied`](crate::ErrorKind::Denied) | the password is wrong, or a permission is missing |
    /// | [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) | the store cannot be reached |
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes every connection that it has opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::{ProviderFactory, ProviderUrl};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    ///
    /// let url = ProviderUrl::parse("memory://")?;
    /// let provider = lock_memory::factory().connect(&url).await?;
    /// assert_eq!(provider.info().name(), "memory");
    ///
    /// let wrong = ProviderUrl::parse("memory://?colour=blue")?;
    /// assert!(lock_memory::factory().connect(&wrong).await.unwrap_err().is_misconfigured());
    /// # Ok(())
    /// # }
    /// ```
    async fn connect(&self, url: &ProviderUrl) -> Result<Arc<dyn LockProvider>>;

    /// Returns whether the store has prefixes of its own.
    ///
    /// | answer | the option `prefix` of a URL |
    /// |---|---|
    /// | `false`, the default | is removed before [`connect`](Self::connect), and the registry puts [`Prefixed`](super::Prefixed) around the provider |
    /// | `true` | is left to [`connect`](Self::connect) |
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::ProviderFactory;
    ///
    /// assert!(!lock_memory::factory().has_prefixes());
    /// ```
    fn has_prefixes(&self) -> bool {
        false
    }
}
