//! A checked description, bound to the backend.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::acquire::Acquire;
use super::guard::LockGuard;
use super::renewing::Renewing;
use crate::acquiring::{Acquisition, WaitSettings};
use crate::backend::{Capability, Claim};
use crate::engine::{Bound, Engine, Margins};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::holding::{Hold, HoldSettings};
use crate::value::{LockKey, Ttl};

impl Acquire {
    /// Checks the whole description, before any request.
    pub(super) fn plan(self, renew_by_default: bool) -> Result<Plan> {
        let name = Arc::clone(self.engine.provider.info().shared_name());
        let key = self.key.as_ref().ok().cloned();
        let checked = self.checked(renew_by_default);
        checked.map_err(|error| {
            error.in_operation(Operation::Acquire, key.as_ref().map(LockKey::shared), &name)
        })
    }

    fn checked(self, renew_by_default: bool) -> Result<Plan> {
        let engine = self.engine;
        let (key, metadata) = (self.key?, self.metadata?);
        let info = engine.provider.info();
        info.check_key(&key)?;
        if !metadata.is_empty() {
            info.declared().require(info.name(), [Capability::Metadata])?;
        }
        let ttl = engine.margins.usable_ttl(self.defaults.ttl)?;
        info.check_ttl(ttl)?;
        let renew = match self.renewing {
            Renewing::Unset => renew_by_default,
            Renewing::Never => false,
            Renewing::Always => true,
        };
        check_times(ttl, engine.margins, &self.holding)?;
        let runtime = Handle::try_current().map_err(|source| {
            Error::new(ErrorKind::Misconfigured, "there is no tokio runtime; acquire locks in one")
                .with_source(source)
        })?;
        let owner_is_minted = self.owner.is_none();
        let owner = match self.owner {
            Some(token) => token,
            None => (engine.mint)()?,
        };
        let claim = Claim::new(key.clone(), owner, ttl).with_metadata(metadata);
        let bound = Bound::new(&*engine.provider, claim);
        let queues = bound.lock.as_queue().is_some();
        let fairness = self.defaults.fairness(queues, &*engine.provider)?;
        let hints = bound.lock.as_hints().is_some();
        Ok(Plan {
            bound,
            engine,
            runtime,
            key,
            renew,
            holding: self.holding,
            settings: WaitSettings {
                wait: self.defaults.wait,
                retry: self.defaults.retry,
                hints,
                fairness,
                cancelled: self.cancelled,
                owner_is_minted,
            },
        })
    }
}

/// Checks that the ttl leaves time for the stop margin and for a renewal.
fn check_times(ttl: Ttl, margins: Margins, holding: &HoldSettings) -> Result<()> {
    let refuse = |message: String| Err(Error::new(ErrorKind::Invalid, message));
    let usable = margins.usable_part(ttl)?;
    let renewals = holding.renewals.as_deref();
    match renewals.and_then(|renewals| renewals.every) {
        Some(Duration::ZERO) => {
            return refuse("the renewal interval is zero; it must be longer".into());
        }
        // The interval varies by a tenth.
        Some(every) if every.saturating_mul(11) / 10 >= usable => {
            return refuse(format!(
                "renewing every {every:?} is too late for the ttl {ttl}, of which {usable:?} can \
                 be used; leave a tenth of the interval to spare"
            ));
        }
        _ => {}
    }
    if renewals.and_then(|renewals| renewals.timeout).is_some_and(|limit| limit.is_zero()) {
        return refuse("the time limit of renewals is zero; it must be longer".into());
    }
    if holding.max_hold.is_some_and(|limit| limit.is_zero()) {
        return refuse("the longest time to hold is zero; it must be longer".into());
    }
    Ok(())
}

/// A description that was checked, with its claim bound to the backend.
pub(super) struct Plan {
    engine: Arc<Engine>,
    runtime: Handle,
    pub(super) key: LockKey,
    bound: Bound,
    /// Whether the lease is renewed in the background.
    renew: bool,
    holding: HoldSettings,
    settings: WaitSettings,
}

impl Plan {
    pub(super) fn provider(&self) -> &Arc<str> {
        self.engine.provider.info().shared_name()
    }

    pub(super) async fn acquire(self) -> Result<LockGuard> {
        let Self { engine, runtime, bound, holding, settings, .. } = self;
        let hold = Acquisition::new(engine, runtime, bound, holding, settings).run().await?;
        Ok(guard(hold, self.renew))
    }

    pub(super) async fn resume(self) -> Result<LockGuard> {
        let hold = Hold::resume(self.engine, self.runtime, self.bound, self.holding).await?;
        let hold = Arc::new(hold);
        hold.begin(true);
        Ok(guard(hold, self.renew))
    }
}

fn guard(hold: Arc<Hold>, renew: bool) -> LockGuard {
    let guard = LockGuard::new(hold);
    if renew {
        guard.auto_renew();
    }
    guard
}
