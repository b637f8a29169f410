//! A held lock: its deadline, its renewals, and how it ends.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio_util::sync::CancellationToken;

use super::belief::Belief;
use super::limits::check_margin;
use super::releasing::Releasing;
use crate::backend::Renewal;
use crate::clock::Moment;
use crate::engine::line::{PassedOn, Received};
use crate::engine::{Bound, Engine};
use crate::error::{Effect, Error, ErrorKind, Operation, Result};
use crate::loss::{AtRisk, Loss};
use crate::observe::EventKind;
use crate::value::{FencingToken, Ttl};

/// No renewal has less time than this.
const SHORTEST_LIMIT: Duration = Duration::from_millis(1);

/// One held lock, shared by its guard, its leases and its renewal task.
///
/// Every change of state happens here, under one mutex: a lock is held, then it is over, once.
pub(crate) struct Hold {
    pub(crate) engine: Arc<Engine>,
    pub(crate) bound: Bound,
    pub(crate) fencing: Option<FencingToken>,
    /// The runtime that the acquisition ran on, for work after the guard was dropped elsewhere.
    pub(crate) runtime: Handle,
    pub(super) since: Moment,
    /// Holding longer than this is a loss, however often the lease was renewed.
    hold_until: Moment,
    pub(super) state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) belief: Belief,
    /// An earlier attempt had no known outcome, so a copy of it may still be under way.
    pub(super) stray: bool,
    /// How the key has been passed on before.
    pub(super) passed_on: PassedOn,
    /// A request that changes the lease is under way: they never overlap.
    busy: bool,
    /// Taken over from an earlier acquisition, so the claim does not have all that the store has.
    resumed: bool,
    /// What few locks need: apart, as ten thousand are held at a time.
    rest: Option<Box<Rest>>,
    over: Option<Over>,
    pub(super) releasing: Releasing,
}

#[derive(Debug, Default)]
struct Rest {
    /// How many renewals have failed, ever.
    failures: u64,
    /// The last failure, until a renewal succeeds.
    at_risk: Option<AtRisk>,
    /// Cancelled when the lock is lost, once somebody has asked for it.
    cancellation: Option<CancellationToken>,
}

impl State {
    fn at_risk(&self) -> Option<&AtRisk> {
        self.rest.as_ref()?.at_risk.as_ref()
    }
}

/// Held while a request that changes the lease is under way.
pub(super) struct Alone<'a>(&'a Hold);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        self.0.state().busy = false;
        self.0.changed.notify_waiters();
    }
}

/// How a hold ended.
#[derive(Clone, Debug)]
pub(crate) enum Over {
    /// The holder was done with it: released, detached, forgotten.
    Done,
    /// Against the holder's wish.
    Lost(Loss),
}

impl Hold {
    /// Begins to hold what an acquisition has received; `stray` if a copy of its request may still be
    /// under way.
    pub(crate) fn new(
        engine: Arc<Engine>,
        runtime: Handle,
        bound: Bound,
        received: Received,
        max_hold: Option<Duration>,
        stray: bool,
    ) -> Self {
        let Received { grant, sent, passed_on } = received;
        let belief = Belief::granted(sent, bound.claim.ttl());
        Self {
            engine,
            bound,
            fencing: grant.fencing,
            runtime,
            since: sent,
            hold_until: max_hold.map_or(Moment::NEVER, |hold| sent.after(hold)),
            state: Mutex::new(State {
                belief,
                stray,
                passed_on,
                busy: false,
                resumed: false,
                rest: None,
                over: None,
                releasing: Releasing::default(),
            }),
            changed: Notify::new(),
        }
    }

    /// Takes over a lock that is already held under the claim's owner token.
    pub(crate) async fn resume(
        engine: Arc<Engine>,
        runtime: Handle,
        bound: Bound,
        max_hold: Option<Duration>,
    ) -> Result<Self> {
        let ttl = bound.claim.ttl();
        let sent = engine.clock.now();
        match engine
            .call(engine.request_timeout.min(ttl.as_duration()), bound.lock.renew(ttl))
            .await?
        {
            Renewal::Renewed(grant) => {
                let received = Received::new(grant, sent);
                let hold = Self::new(engine, runtime, bound, received, max_hold, false);
                hold.state().resumed = true;
                if hold.left().is_zero() {
                    let message = "the answer came when the resumed lease was already over";
                    return Err(Error::new(ErrorKind::Unavailable, message));
                }
                Ok(hold)
            }
            Renewal::Lost => {
                Err(Error::new(ErrorKind::Lost, "this owner does not hold the lock any more"))
            }
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> Moment {
        self.engine.clock.now()
    }

    /// The moment until which the lock may be believed to be held, unless it is over (law G1).
    pub(crate) fn deadline(&self) -> Moment {
        self.state().belief.deadline().min(self.hold_until)
    }

    /// Whether it was taken over from an earlier acquisition.
    pub(crate) fn is_resumed(&self) -> bool {
        self.state().resumed
    }

    /// The ttl that the last confirmed grant or renewal asked for.
    pub(crate) fn ttl(&self) -> Ttl {
        self.state().belief.ttl()
    }

    /// Checks that a ttl leaves something after the stop margin.
    pub(crate) fn check_margin(&self, ttl: Ttl) -> Result<Duration> {
        check_margin(ttl, self.engine.stop_margin)
    }

    /// Returns how long the lock may still be believed to be held: zero once it is over.
    pub(crate) fn left(&self) -> Duration {
        let state = self.state();
        match state.over {
            None => state.belief.deadline().min(self.hold_until).since(self.now()),
            Some(_) => Duration::ZERO,
        }
    }

    /// The moment at which the holder is told to stop: a margin before the deadline (law G2).
    pub(crate) fn stop_at(&self) -> Moment {
        self.state().belief.stop_at(self.engine.stop_margin).min(self.hold_until)
    }

    /// Whether the lease needs no further renewal, as it outlasts the longest time to hold it.
    pub(crate) fn lasts_to_its_limit(&self) -> bool {
        self.state().belief.stop_at(self.engine.stop_margin) >= self.hold_until
    }

    /// Returns how the hold ended, if it has.
    pub(crate) fn over(&self) -> Option<Over> {
        self.state().over.clone()
    }

    /// Ends the hold; the first end stays.
    pub(crate) fn end(&self, over: Over) {
        let mut state = self.state();
        if state.over.is_some() {
            return;
        }
        state.over = Some(over.clone());
        let cancellation = state.rest.as_ref().and_then(|rest| rest.cancellation.clone());
        drop(state);
        self.changed.notify_waiters();
        if let Over::Lost(loss) = over {
            self.engine.lines.freed(self.bound.key(), false);
            if let Some(cancellation) = cancellation {
                cancellation.cancel();
            }
            self.engine.report(self.bound.key(), EventKind::Lost { loss });
        }
    }

    /// Ends the hold if its time to stop has come; timers only hint at that moment, so everyone who
    /// wakes up compares the clock here.
    pub(crate) fn stop_if_due(&self) {
        if self.now() < self.stop_at() {
            return;
        }
        let loss = if self.hold_until <= self.now() {
            Loss::MaxHold
        } else {
            Loss::Expired { cause: self.state().at_risk().map(|risk| risk.cause.clone()) }
        };
        self.end(Over::Lost(loss));
    }

    /// Waits for the end of the hold, and ends it at its time to stop.
    pub(crate) async fn ended(&self) -> Over {
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

    /// Waits until the lock is at risk through a failure after the first `told`, and returns it with
    /// the number of failures so far; `None` when the hold ends first.
    pub(crate) async fn risk(&self, told: u64) -> Option<(AtRisk, u64)> {
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
            if let Some(risk) = risk.filter(|_| failures > told) {
                return Some((risk, failures));
            }
            tokio::select! {
                biased;
                () = changed => {}
                () = self.engine.clock.sleep_until(self.stop_at()) => {}
            }
        }
    }

    /// Returns a token that is cancelled when the lock is lost. The first call starts a task, which
    /// ends with the hold.
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
        if let Some(Over::Lost(_)) = self.over() {
            token.cancel();
        }
        token
    }

    /// The error for everybody who needs a lock that is over.
    pub(crate) fn lost_error(&self) -> Error {
        let (message, cause) = match self.over() {
            Some(Over::Lost(loss)) => (loss.to_string(), loss.cause().cloned()),
            Some(Over::Done) => ("the holder has given the lock back".into(), None),
            None => ("too little of the lease is left".into(), None),
        };
        let mut error = Error::new(ErrorKind::Lost, message);
        if let Some(cause) = cause {
            error = error.with_source(cause);
        }
        error.about(self.bound.key().shared(), self.engine.provider.info().name())
    }

    /// Resolves at the next change of the deadline, or the end, after this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Waits for the request under way, for no longer than a request may take: its task may not be
    /// running.
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
        self.engine.call(self.engine.request_timeout, waiting).await
    }

    /// Renews once, by hand to a new ttl or from the renewal task to the present one. Never overlaps
    /// another request, so none is sent after a release (law G4, bug B-W5).
    pub(crate) async fn renew(&self, ttl: Option<Ttl>) -> Result<()> {
        let nothing_sent = |error: Error| error.with_effect(Effect::NotApplied);
        let _alone = self.alone().await.map_err(nothing_sent)?;
        self.stop_if_due();
        if self.over().is_some() {
            return Err(self.lost_error());
        }
        let ttl = ttl.unwrap_or_else(|| self.ttl());
        let at = self.now();
        let sent = self.state().belief.send(at, ttl);
        // The deadline may have come nearer: whoever sleeps until it must know.
        self.changed.notify_waiters();
        // One hung request must leave the time for another.
        let half = self.stop_at().since(at) / 2;
        let limit = self.engine.request_timeout.min(half.max(SHORTEST_LIMIT));
        let over = async {
            loop {
                let changed = self.changed.notified();
                if self.over().is_some() {
                    return;
                }
                changed.await;
            }
        };
        let answer = tokio::select! {
            biased;
            answer = self.engine.call(limit, (*self.bound.lock).renew(ttl)) => answer,
            () = over => return Err(self.lost_error()),
        };
        match answer {
            Ok(Renewal::Renewed(grant)) if grant.fencing == self.fencing => {
                self.settle(|belief| belief.confirm(sent))?;
                if let Some(rest) = &mut self.state().rest {
                    rest.at_risk = None;
                }
                let renewed = EventKind::Renewed { ttl: ttl.as_duration() };
                self.engine.report(self.bound.key(), renewed);
                Ok(())
            }
            Ok(Renewal::Renewed(_) | Renewal::Lost) => {
                self.end(Over::Lost(Loss::NotYours));
                Err(self.lost_error())
            }
            Err(error) => {
                if error.effect() == Effect::NotApplied {
                    self.settle(|belief| belief.refute(sent))?;
                }
                let key = self.bound.key();
                Err(self.put_at_risk(self.engine.explain(error, Operation::Renew, key)))
            }
        }
    }

    /// Takes note of an answer, unless it came after the time to stop: loss is terminal.
    fn settle(&self, change: impl FnOnce(&mut Belief)) -> Result<()> {
        self.stop_if_due();
        let mut state = self.state();
        if state.over.is_some() {
            drop(state);
            return Err(self.lost_error());
        }
        change(&mut state.belief);
        drop(state);
        self.changed.notify_waiters();
        Ok(())
    }

    /// An error from renew means unknown, not lost (law G3): tell, and let it be tried again.
    fn put_at_risk(&self, cause: Error) -> Error {
        let mut state = self.state();
        let rest = state.rest.get_or_insert_default();
        rest.failures = rest.failures.saturating_add(1);
        let before = rest.at_risk.as_ref().map_or(0, |risk| risk.failures);
        let failures = before.saturating_add(1);
        rest.at_risk = Some(AtRisk { failures, cause: cause.clone() });
        drop(state);
        self.changed.notify_waiters();
        let kind = EventKind::AtRisk { failures, cause: cause.clone() };
        self.engine.report(self.bound.key(), kind);
        cause
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claim = &self.bound.claim;
        f.debug_struct("Lease")
            .field("key", claim.key())
            .field("owner", claim.owner_token())
            .field("fencing_token", &self.fencing)
            .field("provider", self.engine.provider.info().name())
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}
