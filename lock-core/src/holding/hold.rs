//! A held lock: its deadline, its renewals, and its end.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio_util::sync::CancellationToken;

use super::hold_settings::{HoldSettings, Renewals};
use super::releasing::Releasing;
use super::state::{Rest, State};
use super::validity::Validity;
use crate::backend::{Renewal, Verb};
use crate::clock::Moment;
use crate::engine::line::Received;
use crate::engine::{Bound, Engine};
use crate::error::{Effect, Error, ErrorKind, Operation, Result};
use crate::loss::{AtRisk, Loss};
use crate::observe::{EventKind, HoldOutcome};
use crate::value::{FencingToken, Ttl};

/// The shortest time limit of a renewal.
const SHORTEST_LIMIT: Duration = Duration::from_millis(1);

/// One held lock, which its guard, its leases and its renewal task share.
///
/// All state changes here, under one mutex. A hold that is over stays over.
pub(crate) struct Hold {
    pub(crate) engine: Arc<Engine>,
    pub(crate) bound: Bound,
    pub(crate) fencing: Option<FencingToken>,
    /// The runtime of the acquisition, for the release of a guard that is dropped elsewhere.
    pub(crate) runtime: Handle,
    /// The moment before the request for the lock left.
    pub(super) since: Moment,
    pub(super) state: Mutex<State>,
    /// Notified when the deadline, the risk or `over` changes, and when `busy` is reset.
    changed: Notify,
}

/// The right to send a request that changes the lease. Dropping it resets `busy`.
pub(super) struct Alone<'a>(&'a Hold);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.state().busy = false;
        self.0.changed.notify_waiters();
    }
}

impl Hold {
    /// Begins to hold a grant. `stray` is true if a late copy of its request may still take effect.
    pub(crate) fn new(
        engine: Arc<Engine>,
        runtime: Handle,
        bound: Bound,
        received: Received,
        settings: HoldSettings,
        stray: bool,
    ) -> Self {
        let Received { grant, sent, passed_on } = received;
        let validity = Validity::granted(sent, bound.claim.ttl(), engine.margins);
        Self {
            engine,
            bound,
            fencing: grant.fencing,
            runtime,
            since: sent,
            state: Mutex::new(State {
                validity,
                stray,
                past_others: passed_on.past_others,
                unbroken_since: passed_on.since,
                busy: false,
                auto_renewing: false,
                resumed: false,
                rest: Rest::of(settings, sent),
                over: None,
                counted: false,
                releasing: Releasing::default(),
            }),
            changed: Notify::new(),
        }
    }

    /// Takes over a lock that is held under the owner token of the claim.
    pub(crate) async fn resume(
        engine: Arc<Engine>,
        runtime: Handle,
        bound: Bound,
        settings: HoldSettings,
    ) -> Result<Self> {
        let ttl = bound.claim.ttl();
        let sent = engine.clock.now();
        let (limit, request) =
            (engine.request_timeout.min(ttl.as_duration()), bound.lock.renew(ttl));
        match engine.request(&bound, Verb::Renew, limit, request).await? {
            Renewal::Renewed(grant) => {
                let received = Received::new(grant, sent);
                let hold = Self::new(engine, runtime, bound, received, settings, false);
                hold.state().resumed = true;
                if hold.left().is_zero() {
                    let message = "the answer came after the resumed lease had ended";
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                Ok(hold)
            }
            Renewal::Lost => {
                Err(Error::new(ErrorKind::Lost, "this owner no longer holds the lock"))
            }
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Moment {
        self.engine.clock.now()
    }

    /// Returns the moment until which the lock is certainly held, unless it is over (law G1).
    pub(crate) fn deadline(&self) -> Moment {
        self.state().deadline()
    }

    /// Returns whether the lock was resumed.
    pub(crate) fn is_resumed(&self) -> bool {
        self.state().resumed
    }

    /// Returns the moment before the request for the lock left.
    pub(crate) fn since(&self) -> Moment {
        self.since
    }

    /// Returns how the lease is renewed.
    pub(super) fn renewals(&self) -> Renewals {
        self.state().rest.as_ref().map(|rest| rest.renewals).unwrap_or_default()
    }

    /// Returns whether the caller has to start the task that renews the lease. It returns true only
    /// once, because there is only one such task.
    pub(crate) fn claim_auto_renewal(&self) -> bool {
        !std::mem::replace(&mut self.state().auto_renewing, true)
    }

    /// Returns the ttl of the last confirmed grant or renewal.
    pub(crate) fn ttl(&self) -> Ttl {
        self.state().validity.ttl()
    }

    /// Returns how long the lock is certainly held from now on. Zero once it is over.
    pub(crate) fn left(&self) -> Duration {
        let state = self.state();
        match state.over {
            None => state.deadline().since(self.now()),
            Some(_) => Duration::ZERO,
        }
    }

    /// Returns the moment at which the lock is declared lost, a margin before the deadline (law
    /// G2).
    pub(crate) fn stop_at(&self) -> Moment {
        let state = self.state();
        state.validity.stop_at(self.engine.margins).min(state.hold_until())
    }

    /// Returns whether the lease lasts beyond the longest time to hold, so that it needs no
    /// renewal.
    pub(crate) fn lasts_to_its_limit(&self) -> bool {
        let state = self.state();
        state.validity.stop_at(self.engine.margins) >= state.hold_until()
    }

    /// Returns how the hold ended, if it has.
    pub(crate) fn over(&self) -> Option<HoldOutcome> {
        self.state().over.clone()
    }

    /// Counts and reports the hold. If there is an observer, a task notices the end of a lease that
    /// nobody watches.
    pub(crate) fn begin(self: &Arc<Self>, resumed: bool) {
        let Engine { numbers, reporter, .. } = &*self.engine;
        numbers.hold_started();
        self.state().counted = true;
        let fencing = self.fencing;
        self.engine.report(&self.bound, EventKind::HoldStarted { fencing, resumed });
        if reporter.is_observed() {
            self.runtime.spawn(watch(Arc::clone(self)));
        }
    }

    /// Ends the hold, unless it is over already.
    pub(crate) fn end(&self, outcome: HoldOutcome) {
        let mut state = self.state();
        if state.over.is_some() {
            return;
        }
        state.over = Some(outcome.clone());
        let cancellation = state.rest.as_ref().and_then(|rest| rest.cancellation.clone());
        drop(state);
        self.changed.notify_waiters();
        if let HoldOutcome::Lost(_) = outcome {
            self.engine.lines.freed(self.bound.key(), false);
            if let Some(cancellation) = cancellation {
                cancellation.cancel();
            }
        }
        self.report_end(outcome);
    }

    /// Subtracts the hold from the counts of the client, and reports its end. It does so only
    /// once. A lock that is given back after its deadline is reported as lost, whatever the release
    /// finds.
    fn report_end(&self, outcome: HoldOutcome) {
        let (now, mut state) = (self.now(), self.state());
        if !std::mem::take(&mut state.counted) {
            return;
        }
        let deadline = state.deadline();
        let is_late = now >= deadline;
        let outcome = match outcome {
            HoldOutcome::Lost(_) => outcome,
            _ if is_late => HoldOutcome::Lost(state.loss_by_time(now)),
            _ => outcome,
        };
        drop(state);
        self.engine.numbers.hold_ended();
        let held = now.min(deadline).since(self.since);
        self.engine.report(&self.bound, EventKind::HoldEnded { outcome, held });
    }

    /// Ends the hold if its time to stop has come. Timers may be late, so every task that wakes up
    /// compares the clock here.
    pub(crate) fn stop_if_due(&self) {
        let now = self.now();
        if now >= self.stop_at() {
            let loss = self.state().loss_by_time(now);
            self.end(HoldOutcome::Lost(loss));
        }
    }

    /// Waits for the end of the hold, and ends it at its time to stop.
    pub(crate) async fn ended(&self) -> HoldOutcome {
        loop {
            let changed = self.changed.notified();
            self.stop_if_due();
            if let Some(over) = self.over() {
                return over;
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = self.engine.clock.sleep_until(self.stop_at()) => {}
            }
        }
    }

    /// Waits for a failed renewal after the first `reported` failures.
    ///
    /// Returns it with the number of failures so far, or `None` when the hold ends first.
    pub(crate) async fn risk(&self, reported: u64) -> Option<(AtRisk, u64)> {
        loop {
            let changed = self.changed.notified();
            self.stop_if_due();
            if self.over().is_some() {
                return None;
            }
            let (risk, failures) = {
                let state = self.state();
                let failures = state.rest.as_ref().map_or(0, |rest| rest.failures);
                (state.at_risk().cloned(), failures)
            };
            if let Some(risk) = risk.filter(|_| failures > reported) {
                return Some((risk, failures));
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = self.engine.clock.sleep_until(self.stop_at()) => {}
            }
        }
    }

    /// Returns a token that is cancelled when the lock is lost.
    ///
    /// The first call starts a task, which ends with the hold.
    pub(crate) fn cancellation(self: &Arc<Self>) -> CancellationToken {
        let (token, is_new) = {
            let mut state = self.state();
            let slot = &mut state.rest.get_or_insert_default().cancellation;
            let is_new = slot.is_none();
            (slot.get_or_insert_default().clone(), is_new)
        };
        if is_new {
            let hold = Arc::clone(self);
            // The runtime of the acquisition may have ended; the caller's has not.
            let runtime = Handle::try_current().unwrap_or_else(|_| self.runtime.clone());
            runtime.spawn(async move { hold.ended().await });
        }
        if let Some(HoldOutcome::Lost(_)) = self.over() {
            token.cancel();
        }
        token
    }

    /// Makes the error of an operation for which the lock is over, or has too little time left.
    pub(crate) fn lost_error(&self) -> Error {
        let (message, cause) = match self.over() {
            Some(HoldOutcome::Lost(loss)) => (loss.to_string(), loss.cause().cloned()),
            Some(HoldOutcome::GivenBack) => ("the holder has given the lock back".into(), None),
            Some(HoldOutcome::Detached) => ("the holder has detached the lock".into(), None),
            Some(HoldOutcome::Forgotten) => {
                ("the holder has left the lock to its ttl".into(), None)
            }
            None => ("the lease has less time left than required".into(), None),
        };
        let mut error = Error::new(ErrorKind::Lost, message);
        if let Some(cause) = cause {
            error = error.with_source(cause);
        }
        error.about(self.bound.key().shared(), self.engine.provider.info().shared_name())
    }

    /// Resolves when the deadline changes or the hold ends, at any time after this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Waits until no request that changes the lease is in flight.
    ///
    /// It waits for no longer than a request may take, because the task of that request may not be
    /// polled.
    pub(super) async fn alone(&self) -> Result<Alone<'_>> {
        let waiting = async {
            loop {
                let changed = self.changed.notified();
                if !std::mem::replace(&mut self.state().busy, true) {
                    return Ok(Alone(self));
                }
                changed.await;
            }
        };
        self.engine.limited(self.engine.request_timeout, waiting).await
    }

    /// Renews once, to a new ttl or to the present one.
    ///
    /// It never overlaps another request, so no renewal is sent after a release (law G4, bug B-W5).
    pub(crate) async fn renew(&self, ttl: Option<Ttl>) -> Result<()> {
        let nothing_sent = |error: Error| error.with_effect(Effect::NotApplied);
        let _alone = self.alone().await.map_err(nothing_sent)?;
        self.stop_if_due();
        if self.over().is_some() {
            return Err(self.lost_error());
        }
        let ttl = ttl.unwrap_or_else(|| self.ttl());
        let at = self.now();
        let sent = self.state().validity.send(at, ttl, self.engine.margins);
        // The deadline may be earlier now, so tasks that sleep until the old one must wake up.
        self.changed.notify_waiters();
        // A request that hangs must leave time for a retry.
        let half = self.stop_at().since(at) / 2;
        let timeout = self.renewals().timeout.unwrap_or(Duration::MAX);
        let most = self.engine.request_timeout.min(timeout);
        let limit = most.min(half.max(SHORTEST_LIMIT));
        let over = async {
            loop {
                let changed = self.changed.notified();
                if self.over().is_some() {
                    return;
                }
                changed.await;
            }
        };
        let request = (*self.bound.lock).renew(ttl);
        let answer = tokio::select! {
            biased;
            answer = self.engine.request(&self.bound, Verb::Renew, limit, request) => answer,
            () = over => return Err(self.lost_error()),
        };
        match answer {
            Ok(Renewal::Renewed(grant)) if grant.fencing == self.fencing => {
                self.settle(|validity| validity.confirm(sent, self.engine.margins))?;
                if let Some(rest) = &mut self.state().rest {
                    rest.at_risk = None;
                }
                let renewed = EventKind::Renewed { ttl: ttl.as_duration() };
                self.engine.report(&self.bound, renewed);
                Ok(())
            }
            Ok(Renewal::Renewed(_) | Renewal::Lost) => {
                self.end(HoldOutcome::Lost(Loss::NotYours));
                Err(self.lost_error())
            }
            Err(error) => {
                if error.effect() == Effect::NotApplied {
                    self.settle(|validity| validity.refute(sent))?;
                }
                let key = self.bound.key();
                Err(self.put_at_risk(self.engine.explain(error, Operation::Renew, key)))
            }
        }
    }

    /// Applies an answer, unless it came after the time to stop, because a loss is final.
    fn settle(&self, change: impl FnOnce(&mut Validity)) -> Result<()> {
        self.stop_if_due();
        let mut state = self.state();
        if state.over.is_some() {
            drop(state);
            return Err(self.lost_error());
        }
        change(&mut state.validity);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Reports a failed renewal. It means that the outcome is unknown, not that the lock is lost
    /// (law G3), unless the caller's limit of failures is reached.
    fn put_at_risk(&self, cause: Error) -> Error {
        let mut state = self.state();
        if state.over.is_some() {
            drop(state);
            return self.lost_error(); // given back while the renewal was under way
        }
        let rest = state.rest.get_or_insert_default();
        rest.failures = rest.failures.saturating_add(1);
        let before = rest.at_risk.as_ref().map_or(0, |risk| risk.failures);
        let failures = before.saturating_add(1);
        rest.at_risk = Some(AtRisk { failures, cause: cause.clone() });
        let most = rest.renewals.max_failures;
        drop(state);
        if most.is_some_and(|most| failures >= most.get()) {
            self.end(HoldOutcome::Lost(Loss::GaveUp { failures, cause }));
            return self.lost_error();
        }
        self.changed.notify_waiters();
        let kind = EventKind::AtRisk { failures, cause: cause.clone() };
        self.engine.report(&self.bound, kind);
        cause
    }
}

/// Reports the end of a lease that nobody has noticed. It changes nothing: an observer must make no
/// difference to what a release finds.
async fn watch(hold: Arc<Hold>) {
    loop {
        let changed = hold.changed();
        if hold.over().is_some() {
            return;
        }
        let (now, deadline) = (hold.now(), hold.deadline());
        if now >= deadline {
            let loss = hold.state().loss_by_time(now);
            return hold.report_end(HoldOutcome::Lost(loss));
        }
        tokio::select! {
            biased;
            () = changed => {}
            () = hold.engine.clock.sleep_until(deadline) => {}
        }
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claim = &self.bound.claim;
        f.debug_struct("Lease")
            .field("key", claim.key())
            .field("owner", claim.owner_token())
            .field("fencing_token", &self.fencing)
            .field("provider", self.engine.provider.info().shared_name())
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}
