use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Engine, Terms, Validity};
use crate::claim::{FencingToken, Ttl};
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::guard::{AtRisk, Loss};
use crate::observe::EventKind;
use crate::provider::{Lock, Release, Renewal};

/// How often a release is repeated to be sure that no stray request can take the key again.
const STRAY_SWEEPS: usize = 3;

/// One held lock, shared by its guard, its leases and its renewal task.
///
/// Every change of state happens here, under one mutex: a lock is held, then it is over, once.
pub(crate) struct Hold {
    pub(crate) engine: Arc<Engine>,
    pub(crate) lock: Arc<dyn Lock>,
    pub(crate) fencing: Option<FencingToken>,
    /// The runtime that the acquisition ran on, for work after the guard was dropped elsewhere.
    pub(crate) runtime: Handle,
    since: Moment,
    /// Holding longer than this is a loss, however often the lease was renewed.
    hold_until: Moment,
    /// How long before the deadline the holder is told to stop; `None` means the default.
    margin: Option<Duration>,
    /// An earlier attempt had no known outcome, so a copy of it may still be under way.
    stray: bool,
    state: Mutex<State>,
    changed: Notify,
    /// Held while a request that changes the lease is under way: they never overlap.
    requests: tokio::sync::Mutex<()>,
    cancellation: OnceLock<CancellationToken>,
}

#[derive(Debug)]
struct State {
    ttl: Ttl,
    deadline: Moment,
    at_risk: Option<AtRisk>,
    over: Option<Over>,
}

/// How a hold ended.
#[derive(Clone, Debug)]
pub(crate) enum Over {
    /// The holder was done with it: released, detached, forgotten.
    Done,
    /// Against the holder's wish.
    Lost(Loss),
}

/// What an acquisition hands over to its hold.
pub(crate) struct Grant {
    pub(super) lock: Arc<dyn Lock>,
    pub(super) runtime: Handle,
    pub(super) fencing: Option<FencingToken>,
    pub(super) ttl: Ttl,
    pub(super) sent: Moment,
    pub(super) max_hold: Option<Duration>,
    pub(super) margin: Option<Duration>,
    pub(super) stray: bool,
}

impl Hold {
    pub(super) fn new(engine: Arc<Engine>, grant: Grant) -> Self {
        let Grant { lock, runtime, fencing, ttl, sent, max_hold, margin, stray } = grant;
        let deadline = Validity::from_sent(sent, ttl).deadline;
        Self {
            engine,
            lock,
            fencing,
            runtime,
            since: sent,
            hold_until: max_hold.map_or(Moment::NEVER, |hold| sent.after(hold)),
            margin,
            stray,
            state: Mutex::new(State { ttl, deadline, at_risk: None, over: None }),
            changed: Notify::new(),
            requests: tokio::sync::Mutex::new(()),
            cancellation: OnceLock::new(),
        }
    }

    /// Takes over a lock that is already held under the claim's owner token.
    pub(crate) async fn resume(
        engine: Arc<Engine>,
        runtime: Handle,
        lock: Arc<dyn Lock>,
        Terms { max_hold, margin }: Terms,
    ) -> Result<Self> {
        let ttl = lock.claim().ttl();
        let sent = engine.clock.now();
        match engine.call(engine.request_timeout.min(ttl.get()), lock.renew(ttl)).await? {
            Renewal::Renewed { fencing } => {
                let stray = false;
                let grant = Grant { lock, runtime, fencing, ttl, sent, max_hold, margin, stray };
                Ok(Self::new(engine, grant))
            }
            Renewal::Lost => {
                Err(Error::new(ErrorKind::Lost, "this owner does not hold the lock any more"))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Moment {
        self.engine.clock.now()
    }

    /// The moment until which the lock may be believed to be held (law G1).
    pub(crate) fn held_until(&self) -> Moment {
        self.state().deadline.min(self.hold_until)
    }

    /// The ttl that the last grant or renewal asked for.
    pub(crate) fn ttl(&self) -> Ttl {
        self.state().ttl
    }

    /// Returns how long the lock may still be believed to be held: zero once it is over.
    pub(crate) fn left(&self) -> Duration {
        let state = self.state();
        match state.over {
            None => state.deadline.min(self.hold_until).since(self.now()),
            Some(_) => Duration::ZERO,
        }
    }

    /// The moment at which the holder is told to stop: a margin before the deadline (law G2).
    pub(super) fn stop_at(&self) -> Moment {
        let state = self.state();
        let margin = self.margin.unwrap_or_else(|| Validity::default_margin(state.ttl));
        state.deadline.before(margin).min(self.hold_until)
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
        drop(state);
        self.changed.notify_waiters();
        if let Over::Lost(loss) = over {
            if let Some(cancellation) = self.cancellation.get() {
                cancellation.cancel();
            }
            self.engine.report(self.lock.claim().key(), EventKind::Lost { loss });
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
            Loss::Expired { cause: self.at_risk_now().map(|risk| risk.cause) }
        };
        self.end(Over::Lost(loss));
    }

    fn at_risk_now(&self) -> Option<AtRisk> {
        self.state().at_risk.clone()
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

    /// Waits for a failed renewal; `None` when the hold ends first.
    pub(crate) async fn risk(&self) -> Option<AtRisk> {
        loop {
            let changed = self.changed.notified();
            self.stop_if_due();
            if self.over().is_some() {
                return None;
            }
            if let Some(risk) = self.at_risk_now() {
                return Some(risk);
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
        let token = self.cancellation.get_or_init(|| {
            let hold = Arc::clone(self);
            self.runtime.spawn(async move { hold.ended().await });
            CancellationToken::new()
        });
        if let Some(Over::Lost(_)) = self.over() {
            token.cancel();
        }
        token.clone()
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
        error.about(self.lock.claim().key(), self.engine.provider.info().name())
    }

    /// Renews once: by hand or from the renewal task. Never overlaps another request (law W5).
    pub(crate) async fn renew(&self, ttl: Ttl) -> Result<()> {
        let key = self.lock.claim().key();
        let _alone = self.requests.lock().await;
        self.stop_if_due();
        if self.over().is_some() {
            return Err(self.lost_error());
        }
        let sent = self.now();
        self.shorten(sent, ttl);
        let limit = self.engine.request_timeout.min(self.stop_at().since(sent));
        let over = async {
            let changed = self.changed.notified();
            if self.over().is_none() {
                changed.await;
            }
        };
        let answer = tokio::select! {
            biased;
            answer = self.engine.call(limit, self.lock.renew(ttl)) => answer,
            () = over => return Err(self.lost_error()),
        };
        match answer {
            Ok(Renewal::Renewed { fencing }) if fencing == self.fencing => self.extend(sent, ttl),
            Ok(Renewal::Renewed { .. } | Renewal::Lost) => {
                self.end(Over::Lost(Loss::NotYours));
                Err(self.lost_error())
            }
            Err(error) => Err(self.put_at_risk(self.engine.explain(error, Operation::Renew, key))),
        }
    }

    /// A renewal to a shorter time may take effect although its answer is lost, so from the moment
    /// it leaves only the earlier of the two deadlines may be believed.
    fn shorten(&self, sent: Moment, ttl: Ttl) {
        let mut state = self.state();
        state.deadline = state.deadline.min(Validity::from_sent(sent, ttl).deadline);
    }

    fn extend(&self, sent: Moment, ttl: Ttl) -> Result<()> {
        // An answer that comes after the time to stop changes nothing: loss is terminal.
        self.stop_if_due();
        let mut state = self.state();
        if state.over.is_some() {
            drop(state);
            return Err(self.lost_error());
        }
        state.ttl = ttl;
        state.deadline = Validity::from_sent(sent, ttl).deadline;
        state.at_risk = None;
        drop(state);
        self.changed.notify_waiters();
        self.engine.report(self.lock.claim().key(), EventKind::Renewed { ttl: ttl.get() });
        Ok(())
    }

    /// An error from renew means unknown, not lost (law G3): tell, and let it be tried again.
    fn put_at_risk(&self, cause: Error) -> Error {
        let mut state = self.state();
        let failures = state.at_risk.as_ref().map_or(0, |risk| risk.failures).saturating_add(1);
        state.at_risk = Some(AtRisk { failures, cause: cause.clone() });
        drop(state);
        self.changed.notify_waiters();
        let kind = EventKind::AtRisk { failures, cause: cause.clone() };
        self.engine.report(self.lock.claim().key(), kind);
        cause
    }

    /// Releases once. The hold is over from the first call on, whatever the backend answers.
    pub(crate) async fn release(&self) -> Result<Release> {
        self.end(Over::Done);
        let key = self.lock.claim().key();
        let _alone = self.requests.lock().await;
        let limit = self.engine.request_timeout;
        let explain = |error| self.engine.explain(error, Operation::Release, key);
        let outcome = self.engine.call(limit, self.lock.release()).await.map_err(explain)?;
        if self.stray {
            self.sweep().await.map_err(explain)?;
        }
        self.engine.lines.freed(key);
        let held = self.now().since(self.since);
        self.engine.report(key, EventKind::Released { outcome, held });
        Ok(outcome)
    }

    /// Releases until the backend answers "not held", which leaves the tombstone that keeps a stray
    /// copy of the acquisition from taking the key again (law U1).
    async fn sweep(&self) -> Result<()> {
        for _ in 0..STRAY_SWEEPS {
            let limit = self.engine.request_timeout;
            if self.engine.call(limit, self.lock.release()).await? == Release::NotHeld {
                break;
            }
        }
        Ok(())
    }

    /// Releases on the runtime of the acquisition: a dropped guard cannot wait.
    pub(crate) fn release_in_background(self: &Arc<Self>) {
        self.end(Over::Done);
        let hold = Arc::clone(self);
        // On a runtime that has shut down the task is dropped, and the ttl frees the key.
        self.runtime.spawn(async move {
            let give_up = hold.state().deadline;
            let key = hold.lock.claim().key().clone();
            let retried = hold.engine.retry_until(give_up, || hold.release()).await;
            if let Err(error) = retried {
                hold.engine.report(&key, EventKind::ReleaseFailed { cause: error });
            }
        });
    }
}

impl fmt::Debug for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claim = self.lock.claim();
        f.debug_struct("Lease")
            .field("key", claim.key())
            .field("owner", claim.owner())
            .field("fencing_token", &self.fencing)
            .field("provider", self.engine.provider.info().name())
            .field("left", &self.left())
            .finish_non_exhaustive()
    }
}
