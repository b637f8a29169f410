//! What makes a provider of a URL.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use super::{LockProvider, ProviderUrl};
use crate::error::Result;

/// Makes providers of the URLs of some schemes; every backend crate has one.
///
/// # For implementors
///
/// Take every option through [`ProviderUrl::options`], which refuses unknown ones. Connect and
/// check the server before you return: an application wants to fail at start-up. Bound the time
/// that takes. No message may hold a password; `ProviderUrl` shows none.
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
    /// Lists the URL schemes it serves, in lower case.
    fn schemes(&self) -> &[&str];

    /// Connects to the store that the URL names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Misconfigured`](crate::ErrorKind::Misconfigured) for a URL that can never work,
    /// [`ErrorKind::Denied`](crate::ErrorKind::Denied) for a wrong password,
    /// [`ErrorKind::Unavailable`](crate::ErrorKind::Unavailable) for a store out of reach.
    async fn connect(&self, url: &ProviderUrl) -> Result<Arc<dyn LockProvider>>;
}
