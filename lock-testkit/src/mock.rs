//! Mocks for unit tests of code *around* a provider.
//!
//! To test code that takes locks, use `lock-memory`, because a mock keeps no laws.

#![allow(missing_docs, reason = "mockall writes the methods")]

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use lock_core::backend::{Attempt, Claim, ProviderInfo, Release, Renewal, Ttl};
use lock_core::{Lock, Result};

mockall::mock! {
    /// A provider whose answers a test sets, made by mockall.
    pub LockProvider {}

    impl lock_core::LockProvider for LockProvider {
        fn info(&self) -> &ProviderInfo;
        fn lock(&self, claim: Claim) -> Arc<dyn Lock>;
    }
}

mockall::mock! {
    /// A lock whose answers a test sets, made by mockall.
    pub Lock {}

    #[async_trait]
    impl lock_core::Lock for Lock {
        async fn try_acquire(&self) -> Result<Attempt>;
        async fn renew(&self, ttl: Ttl) -> Result<Renewal>;
        async fn release(&self) -> Result<Release>;
    }
}

impl fmt::Debug for MockLockProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockLockProvider")
    }
}

impl fmt::Debug for MockLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MockLock")
    }
}
