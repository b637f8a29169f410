//! When an acquisition asks next, and when it stops.

use std::time::Duration;

use super::patience::{Patience, Wait};
use crate::clock::Moment;

/// The shortest pause between two attempts, whatever strategy, hints or the holder's remaining time
/// say; stores count that in milliseconds, rounded down.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// How many delays in a row one who stands behind the head lets pass before it looks up. One alone
/// may be short by chance, and a hundred waiters have many such.
pub(super) const DELAYS_IN_LINE: u32 = 3;

/// The times of one acquisition.
pub(super) struct Schedule {
    pub(super) started: Moment,
    /// When the wait ends, with a last attempt.
    pub(super) deadline: Moment,
    pub(super) last_attempt: Moment,
    /// Taken from the strategy at the first wait: each acquisition has a fresh sequence.
    delays: Option<Box<dyn Iterator<Item = Duration> + Send>>,
    /// When the present delay is over. Whoever asks earlier, at a hint, does not use it up.
    due: Option<Moment>,
    longest_delay: Duration,
}

impl Schedule {
    pub(super) fn new(started: Moment, wait: Wait) -> Self {
        let deadline = match wait {
            Wait::No => started,
            Wait::AtMost(wait) => started.after(wait),
            Wait::Forever => Moment::NEVER,
        };
        let (delays, due, longest_delay) = Default::default();
        Self { started, deadline, last_attempt: started, delays, due, longest_delay }
    }

    /// Returns when the strategy asks again, after so many of its delays; `None` when it has ended.
    pub(super) fn due(&mut self, now: Moment, delays: u32, patience: &Patience) -> Option<Moment> {
        if self.due.is_none_or(|due| due <= now) {
            let sequence = self.delays.get_or_insert_with(|| patience.delays());
            self.due = None;
            for _ in 0..delays {
                let Some(delay) = sequence.next() else { break };
                let delay = delay.max(SHORTEST_PAUSE);
                self.longest_delay = self.longest_delay.max(delay);
                self.due = Some(self.due.unwrap_or(now).after(delay));
            }
        }
        self.due
    }

    /// Returns whether a request that is due then is too far away to wait for, as this strategy
    /// goes.
    pub(super) fn is_far(&self, next_request: Moment, now: Moment) -> bool {
        next_request.since(now) > self.longest_delay.saturating_mul(DELAYS_IN_LINE)
    }
}
