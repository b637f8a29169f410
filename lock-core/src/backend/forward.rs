//! Providers and locks behind an `Arc` or a `Box`.

use std::sync::Arc;

use async_trait::async_trait;

use super::{
    Attempt, Claim, FencingFloor, HandOver, Hints, Inspect, Lock, LockProvider, ProviderInfo,
    Queue, Release, Renewal,
};
use crate::error::Result;
use crate::value::Ttl;

macro_rules! forward {
    ($($pointer:ident),*) => {$(
        #[deny(clippy::missing_trait_methods)]
        impl<P: LockProvider + ?Sized> LockProvider for $pointer<P> {
            fn info(&self) -> &ProviderInfo {
                (**self).info()
            }

            fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
                (**self).lock(claim)
            }

            fn as_inspect(&self) -> Option<&dyn Inspect> {
                (**self).as_inspect()
            }
        }

        #[async_trait]
        #[deny(clippy::missing_trait_methods)]
        impl<L: Lock + ?Sized> Lock for $pointer<L> {
            async fn try_acquire(&self) -> Result<Attempt> {
                (**self).try_acquire().await
            }

            async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
                (**self).renew(ttl).await
            }

            async fn release(&self) -> Result<Release> {
                (**self).release().await
            }

            fn as_hints(&self) -> Option<&dyn Hints> {
                (**self).as_hints()
            }

            fn as_queue(&self) -> Option<&dyn Queue> {
                (**self).as_queue()
            }

            fn as_hand_over(&self) -> Option<&dyn HandOver> {
                (**self).as_hand_over()
            }

            fn as_fencing_floor(&self) -> Option<&dyn FencingFloor> {
                (**self).as_fencing_floor()
            }
        }
    )*};
}

forward!(Arc, Box);
