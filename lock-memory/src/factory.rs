//! The factory that makes a provider from a `memory://` URL.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use lock_core::backend::{ProviderFactory, ProviderUrl};
use lock_core::{Error, ErrorKind, LockProvider, Result};

use crate::MemoryProvider;

/// Makes the factory for `memory://` URLs, which a
/// [`ProviderRegistry`](lock_core::registry::ProviderRegistry) registers.
///
/// | URL | store |
/// |---|---|
/// | `memory://` | a new one for every connection |
/// | `memory://name` | one store per name, within this factory |
///
/// There are no options.
///
/// # Examples
///
/// ```
/// use lock_core::registry::ProviderRegistry;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
///
/// let registry = ProviderRegistry::new().register(lock_memory::factory())?;
/// let one = registry.connect("memory://scratch").await?;
/// let same = registry.connect("memory://scratch").await?;
/// let _held = one.lock("report").acquire().await?;
/// assert!(same.lock("report").try_acquire().await.is_err_and(|error| error.is_contended()));
/// # Ok(())
/// # }
/// ```
pub fn factory() -> MemoryFactory {
    MemoryFactory::default()
}

/// Connects to `memory://` URLs, as [`factory`] describes.
///
/// # Examples
///
/// ```
/// use lock_core::backend::ProviderFactory;
///
/// assert_eq!(lock_memory::factory().schemes(), ["memory"]);
/// ```
#[derive(Debug, Default)]
pub struct MemoryFactory {
    /// The stores with a name. None is ever removed.
    named: Mutex<HashMap<String, MemoryProvider>>,
}

#[async_trait]
impl ProviderFactory for MemoryFactory {
    fn schemes(&self) -> &[&str] {
        &["memory"]
    }

    async fn connect(&self, url: &ProviderUrl) -> Result<Arc<dyn LockProvider>> {
        url.options(&[])?;
        let misconfigured = |message| Err(Error::new(ErrorKind::Misconfigured, message));
        if url.username().is_some() || url.password().is_some() {
            return misconfigured(
                "a memory store has neither user nor password; write `memory://` or `memory://name`",
            );
        }
        if !matches!(url.path().as_str(), "" | "/") {
            return misconfigured(
                "a memory store has no path; write `memory://` or `memory://name`",
            );
        }
        Ok(match url.hosts() {
            [] => Arc::new(MemoryProvider::new()),
            [(name, None)] => {
                let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
                Arc::new(named.entry(name.clone()).or_default().clone())
            }
            _ => {
                return misconfigured(
                    "a memory store has at most one name and no port; write `memory://name`",
                );
            }
        })
    }
}
