//! A shared or boxed provider is a provider, and so for locks.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Attempt, Handover, Holder, Lock, LockProvider, ProviderInfo, Release, Renewal, Watch, WatchKind,
};
use crate::backend::Claim;
use crate::error::Result;
use crate::value::{FencingToken, Ttl};

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        impl<P: LockProvider + ?Sized> LockProvider for $pointer<P> {
            fn info(&self) -> &ProviderInfo {
                (**self).info()
            }

            fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
                (**self).lock(claim)
            }
        }

        #[async_trait]
        impl<L: Lock + ?Sized> Lock for $pointer<L> {
            fn claim(&self) -> &Claim {
                (**self).claim()
            }

            async fn try_acquire(&self) -> Result<Attempt> {
                (**self).try_acquire().await
            }

            async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
                (**self).renew(ttl).await
            }

            async fn release(&self) -> Result<Release> {
                (**self).release().await
            }

            async fn inspect(&self) -> Result<Option<Holder>> {
                (**self).inspect().await
            }

            async fn raise(&self, fencing: FencingToken) -> Result<Option<FencingToken>> {
                (**self).raise(fencing).await
            }

            async fn hand_over(&self, next: &Claim) -> Result<Option<Handover>> {
                (**self).hand_over(next).await
            }

            async fn watch(&self, kind: WatchKind) -> Result<Option<Watch>> {
                (**self).watch(kind).await
            }
        }
    )*};
}

forward!(Arc, Box);
