//! Mocks for those who unit test code *around* a provider. To test code that takes locks, use
//! `lock-memory`: a mock knows no laws.

#![allow(missing_docs, reason = "mockall writes the methods")]

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use lock_core::{
    Attempt, Claim, FencingToken, Handover, Holder, Lock, ProviderInfo, Release, Renewal, Result,
    Ttl, Watch, WatchKind,
};

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
        fn claim(&self) -> &Claim;
        async fn try_acquire(&self) -> Result<Attempt>;
        async fn renew(&self, ttl: Ttl) -> Result<Renewal>;
        async fn release(&self) -> Result<Release>;
        async fn inspect(&self) -> Result<Option<Holder>>;
        async fn raise(&self, fencing: FencingToken) -> Result<Option<FencingToken>>;
        async fn hand_over(&self, next: &Claim) -> Result<Option<Handover>>;
        async fn watch(&self, kind: WatchKind) -> Result<Option<Watch>>;
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
