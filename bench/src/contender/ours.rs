//! Our locks on Redis: the defaults and other modes.

use std::marker::PhantomData;
use std::time::Duration;

use anyhow::Result;
use lock_core::registry::ProviderRegistry;
use lock_core::{Acquire, Fairness, LockClient, LockGuard};

use super::{Contender, ON_REDIS, Role};

/// Longer than a contender waits in any scenario.
const PATIENCE: Duration = Duration::from_secs(600);

/// The scenarios in which the order of waiters matters.
const CONTENDED: &[&str] = &["s3", "s3a", "s3b", "s5"];

/// The same, and those against other libraries.
const MIXED: &[&str] = &["s3", "s3a", "s3b", "s5", "s8", "c1", "c2"];

/// Our locks, in one mode.
pub(crate) struct Ours<M> {
    locks: LockClient,
    ttl: Duration,
    mode: PhantomData<M>,
}

/// What differs from the defaults.
pub(crate) trait Mode: Send + Sync + 'static {
    const NAME: &str;
    const PLAYS: &[&str];
    /// The scheme of the URL.
    const SCHEME: &str = "redis";

    fn choose(acquire: Acquire) -> Acquire;
}

impl<M: Mode> Contender for Ours<M> {
    const NAME: &str = M::NAME;
    const ROLE: Role = Role::Ours;
    const PLAYS: &[&str] = M::PLAYS;
    type Guard = LockGuard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        let registry = ProviderRegistry::new().register(lock_redis::factory())?;
        let url = url.replace("/,redis://", ",").replacen("redis", M::SCHEME, 1);
        Ok(Self { locks: registry.connect(&url).await?, ttl, mode: PhantomData })
    }

    async fn acquire(&self, key: &str) -> Result<LockGuard> {
        let acquire = self.locks.lock(key).ttl(self.ttl).wait_at_most(PATIENCE);
        Ok(M::choose(acquire).acquire().await?)
    }

    async fn release(&self, guard: LockGuard) -> Result<bool> {
        match guard.release().await {
            Ok(()) => Ok(true),
            Err(failed) if failed.is_lost() => Ok(false),
            Err(failed) => Err(failed.into()),
        }
    }

    fn fencing(guard: &LockGuard) -> Option<u64> {
        guard.fencing_token().map(|token| token.as_u64())
    }
}

pub(crate) struct Plain;

impl Mode for Plain {
    const NAME: &str = "ours";
    const PLAYS: &[&str] = ON_REDIS;

    fn choose(acquire: Acquire) -> Acquire {
        acquire
    }
}

pub(crate) struct Fifo;

impl Mode for Fifo {
    const NAME: &str = "ours (fifo)";
    const PLAYS: &[&str] = CONTENDED;

    fn choose(acquire: Acquire) -> Acquire {
        acquire.fairness(Fairness::Fifo)
    }
}

pub(crate) struct Race;

impl Mode for Race {
    const NAME: &str = "ours (race)";
    const PLAYS: &[&str] = MIXED;

    fn choose(acquire: Acquire) -> Acquire {
        acquire.fairness(Fairness::Race)
    }
}

pub(crate) struct Renewed;

impl Mode for Renewed {
    const NAME: &str = "ours (renewed)";
    const PLAYS: &[&str] = &["s6"];

    fn choose(acquire: Acquire) -> Acquire {
        acquire.auto_renew()
    }
}

pub(crate) struct OfFive;

impl Mode for OfFive {
    const NAME: &str = "ours (quorum)";
    const PLAYS: &[&str] = &["v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8"];
    const SCHEME: &str = "redlock";

    fn choose(acquire: Acquire) -> Acquire {
        acquire
    }
}
