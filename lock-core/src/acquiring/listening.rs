//! The subscription of an acquisition to the signals of the store.

use std::time::Duration;

use crate::backend::{Hints, Signal, Subscription, Verb};
use crate::clock::Moment;
use crate::engine::{Bound, Engine};
use crate::fairness::Fairness;

/// A subscription that ends after it has lasted this long is opened again at once.
const LASTING: Duration = Duration::from_secs(1);

/// If the store does not permit this user to subscribe or to queue, neither is tried for this long.
const DENIED: Duration = Duration::from_secs(60);

/// The subscription of one acquisition.
#[derive(Default)]
pub(super) struct Listening {
    subscription: Option<Subscription>,
    since: Moment,
    /// The store does not let this user subscribe or queue, so the acquisition polls until then.
    denied_until: Moment,
    /// A signal has reported a grant. A second such signal counts as a hint, because the attempt
    /// after the first one was refused.
    was_granted: bool,
    /// The last subscription ended soon after it was opened, so none is opened during this pause.
    ended_early: bool,
}

/// An event of the subscription.
#[derive(Debug)]
pub(super) enum Heard {
    /// Signals can arrive from now on. The attempt that follows finds an earlier release.
    Opened,
    Hint,
    /// The queue of the store has granted the key.
    Grant,
    /// The subscription has ended.
    Ended,
}

impl Listening {
    pub(super) fn is_open(&self) -> bool {
        self.subscription.is_some()
    }

    /// Begins a pause, in which a subscription that ended early may be opened again.
    pub(super) fn begin_pause(&mut self) {
        self.ended_early = false;
    }

    /// Stops waiting in the store for a minute, because this user has no permission to.
    pub(super) fn deny(&mut self, now: Moment) {
        (self.subscription, self.denied_until) = (None, now.after(DENIED));
    }

    /// Waits for the next signal. If `open` is true and there is no subscription, opens one first.
    ///
    /// Dropping the future loses no signal. The next call opens a subscription that was not open
    /// yet.
    pub(super) async fn next(
        &mut self,
        engine: &Engine,
        bound: &Bound,
        fairness: Fairness,
        open: bool,
    ) -> Heard {
        if let Some(subscription) = &mut self.subscription {
            return match subscription.next().await {
                Some(Signal::Granted) if !std::mem::replace(&mut self.was_granted, true) => {
                    Heard::Grant
                }
                Some(_) => Heard::Hint,
                None => {
                    self.subscription = None;
                    self.ended_early = engine.clock.now().since(self.since) < LASTING;
                    Heard::Ended
                }
            };
        }
        let hints: Option<&dyn Hints> = match fairness {
            Fairness::Race => bound.lock.as_hints(),
            Fairness::Turns | Fairness::Fifo => bound.lock.as_queue().map(|queue| queue as _),
        };
        let open = open && !self.ended_early && engine.clock.now() >= self.denied_until;
        if let Some(hints) = hints.filter(|_| open) {
            let (limit, request) = (engine.request_timeout, hints.subscribe());
            match engine.request(bound, Verb::Subscribe, limit, request).await {
                Ok(subscription) => {
                    (self.subscription, self.since) = (Some(subscription), engine.clock.now());
                    return Heard::Opened;
                }
                Err(error) => {
                    tracing::debug!(%error, "no subscription, polling instead");
                    if error.is_denied() {
                        self.deny(engine.clock.now());
                    }
                }
            }
        }
        std::future::pending().await
    }
}
