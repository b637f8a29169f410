//! What changes while a lock is held, without clock and I/O.

use tokio_util::sync::CancellationToken;

use super::hold_settings::{HoldSettings, Renewals};
use super::releasing::Releasing;
use super::validity::Validity;
use crate::clock::Moment;
use crate::engine::line::PassedOn;
use crate::loss::{AtRisk, Loss};
use crate::observe::HoldOutcome;

/// What changes while a lock is held.
#[derive(Debug)]
pub(super) struct State {
    pub(super) validity: Validity,
    /// An earlier attempt had no known outcome, so a late copy of it may still take the key.
    pub(super) stray: bool,
    /// How the key was handed on before this hold; see [`PassedOn`]. The fields are apart, which
    /// leaves no gap between them.
    pub(super) past_others: u8,
    pub(super) unbroken_since: Moment,
    /// A request that changes the lease is in flight. Two of them never overlap.
    pub(super) busy: bool,
    /// A task renews the lease.
    pub(super) auto_renewing: bool,
    /// The lock was resumed, so the claim does not contain the note that is in the store.
    pub(super) resumed: bool,
    /// State that few locks need. It is boxed to keep a hold small, because ten thousand may be
    /// held.
    pub(super) rest: Option<Box<Rest>>,
    /// Set once, and never changed after that: the first end stays.
    pub(super) over: Option<HoldOutcome>,
    /// It counts among the held locks of its client, until its end is reported.
    pub(super) counted: bool,
    pub(super) releasing: Releasing,
}

#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) renewals: Renewals,
    /// Holding the lock beyond this moment is a loss. Renewals do not move it.
    pub(super) hold_until: Option<Moment>,
    /// The number of renewals that have failed. It only grows.
    pub(super) failures: u64,
    /// The last failure, until a renewal succeeds.
    pub(super) at_risk: Option<AtRisk>,
    /// Cancelled when the lock is lost. Made at the first request for it.
    pub(super) cancellation: Option<CancellationToken>,
}

impl Rest {
    /// Begins with what the caller has set, if anything.
    pub(super) fn of(settings: HoldSettings, sent: Moment) -> Option<Box<Self>> {
        let HoldSettings { max_hold, renewals } = settings;
        if max_hold.is_none() && renewals.is_none() {
            return None;
        }
        let hold_until = max_hold.map(|limit| sent.after(limit));
        let renewals = renewals.map(|renewals| *renewals).unwrap_or_default();
        Some(Box::new(Self { renewals, hold_until, ..Self::default() }))
    }
}

impl State {
    /// How the key was handed on before this hold.
    pub(super) fn passed_on(&self) -> PassedOn {
        PassedOn { past_others: self.past_others, since: self.unbroken_since }
    }

    /// The moment beyond which holding the lock is a loss.
    pub(super) fn hold_until(&self) -> Moment {
        self.rest.as_ref().and_then(|rest| rest.hold_until).unwrap_or(Moment::NEVER)
    }

    /// The moment until which the lock is certainly held, unless it is over (law G1).
    pub(super) fn deadline(&self) -> Moment {
        self.validity.deadline().min(self.hold_until())
    }

    pub(super) fn loss_by_time(&self, now: Moment) -> Loss {
        if self.hold_until() <= now {
            return Loss::MaxHold;
        }
        Loss::Expired { cause: self.at_risk().map(|risk| risk.cause.clone()) }
    }

    pub(super) fn at_risk(&self) -> Option<&AtRisk> {
        self.rest.as_ref()?.at_risk.as_ref()
    }
}
