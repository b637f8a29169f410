//! What an acquisition hears from the store.

use std::time::Duration;

use crate::backend::{Hints, Lock, Signal, Subscription};
use crate::clock::Moment;
use crate::engine::Engine;
use crate::fairness::Fairness;

/// A subscription that has lasted this long and ends is opened again at once.
const LASTING: Duration = Duration::from_secs(1);

/// After the store has refused this user to subscribe or to queue, neither is tried for this long.
const DENIED: Duration = Duration::from_secs(60);

/// The subscription of one acquisition.
#[derive(Default)]
pub(super) struct Listening {
    subscription: Option<Subscription>,
    since: Moment,
    /// The store has refused this user to subscribe or to queue: it polls until then.
    denied_until: Moment,
    /// A signal has reported a grant. If the attempt that follows does not confirm it, a second one is
    /// only a hint.
    was_granted: bool,
    /// The last one ended as soon as it was opened, so none is opened during this pause.
    ended_early: bool,
}

/// What was heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// Signals can arrive. A release before that is found by the attempt that follows.
    Opened,
    Hint,
    /// The store's queue has granted the key.
    Grant,
    /// The subscription has ended.
    Ended,
}

impl Listening {
    pub(super) fn is_open(&self) -> bool {
        self.subscription.is_some()
    }

    /// Begins a pause: a subscription that ended at once may be tried again.
    pub(super) fn begin_pause(&mut self) {
        self.ended_early = false;
    }

    /// Gives up waiting in the store for now, as this user may not.
    pub(super) fn deny(&mut self, now: Moment) {
        (self.subscription, self.denied_until) = (None, now.after(DENIED));
    }

    /// Waits for the next signal. Opens a subscription first if `open` says so and there is none.
    ///
    /// Dropping the future loses no signal. One that was being opened is opened by the next call.
    pub(super) async fn next(
        &mut self,
        engine: &Engine,
        lock: &dyn Lock,
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
            Fairness::Race => lock.as_hints(),
            Fairness::Turns | Fairness::Fifo => lock.as_queue().map(|queue| queue as _),
        };
        let open = open && !self.ended_early && engine.clock.now() >= self.denied_until;
        if let Some(hints) = hints.filter(|_| open) {
            match engine.call(engine.request_timeout, hints.subscribe()).await {
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
