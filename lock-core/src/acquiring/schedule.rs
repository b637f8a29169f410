//! The times of the next attempt and of the end of the wait.

use std::time::Duration;

use super::wait_settings::{Wait, WaitSettings};
use crate::clock::Moment;

/// The shortest pause between two attempts, under every strategy and after every hint.
///
/// Stores report the remaining time of the holder in milliseconds, rounded down, so an attempt at
/// that very moment could come too early.
pub(super) const SHORTEST_PAUSE: Duration = Duration::from_millis(1);

/// The number of delays after which a waiter behind the head checks the line. A single delay may be
/// short by chance, and among a hundred waiters many are.
pub(super) const DELAYS_IN_LINE: u32 = 3;

/// The times of one acquisition.
pub(super) struct Schedule {
    pub(super) started: Moment,
    /// The end of the wait, at which a last attempt is made.
    pub(super) deadline: Moment,
    pub(super) last_attempt: Moment,
    /// The delays of this acquisition, which begin at its first wait.
    delays: Option<Box<dyn Iterator<Item = Duration> + Send>>,
    /// The end of the present delay. A hint causes an earlier attempt, which leaves the delay as it
    /// is.
    due: Option<Moment>,
    /// The longest delay so far. It only grows.
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

    /// Returns the end of the present delay. If that is over, `delays` new ones begin.
    ///
    /// `None` when the strategy has ended.
    pub(super) fn due(
        &mut self,
        now: Moment,
        delays: u32,
        settings: &WaitSettings,
    ) -> Option<Moment> {
        if self.due.is_none_or(|due| due <= now) {
            let sequence = self.delays.get_or_insert_with(|| settings.delays());
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

    /// Returns whether the strategy of this waiter would send a request much earlier than
    /// `next_request`.
    pub(super) fn is_far(&self, next_request: Moment, now: Moment) -> bool {
        next_request.since(now) > self.longest_delay.saturating_mul(DELAYS_IN_LINE)
    }
}
