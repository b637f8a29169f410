//! The knowledge of an acquisition about its key, and the error that it becomes.

use std::time::Duration;

use crate::backend::Busy;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind};

/// What the attempts of an acquisition, and of others in its line, have found.
#[derive(Default)]
pub(super) struct Seen {
    /// Another owner was seen to hold the key.
    pub(super) held: bool,
    /// The last answer to this acquisition itself that the key is held, and its moment.
    holder: Option<(Moment, Busy)>,
    /// The moment since which one foreign holder has held the key. `None` if the holder is not
    /// foreign.
    foreign_since: Option<Moment>,
    /// The time limit of the last request, if the deadline had shortened it and it was reached.
    pub(super) cut: Option<Duration>,
    /// The last failure, if the last attempt failed for a reason that is worth a report.
    failure: Option<Error>,
    /// The moment of the first failure since the last answer.
    pub(super) failing_since: Option<Moment>,
}

impl Seen {
    /// Returns how long the lease of the other holder had left at the last attempt.
    pub(super) fn remaining(&self) -> Option<Duration> {
        self.holder.filter(|_| self.failing_since.is_none())?.1.remaining
    }

    /// Returns whether the last attempt failed for a reason that is worth a report.
    pub(super) fn has_failed(&self) -> bool {
        self.failure.is_some()
    }

    /// Returns how long the foreign holder is known to have held the key.
    pub(super) fn foreign_for(&self, now: Moment) -> Duration {
        self.foreign_since.map_or(Duration::ZERO, |since| now.since(since))
    }

    /// Records the answer that the key is held.
    pub(super) fn held_by(&mut self, busy: Busy, now: Moment) {
        let ends = |at: Moment, busy: Busy| busy.remaining.map(|left| at.after(left));
        // A lease that ends later than the one before belongs to another holder.
        let same = self.holder.is_some_and(|(at, before)| {
            let slack = Duration::from_millis(5);
            before.foreign && ends(now, busy) <= ends(at, before).map(|end| end.after(slack))
        });
        if !(busy.foreign && same) {
            self.foreign_since = busy.foreign.then_some(now);
        }
        self.holder = Some((now, busy));
        (self.held, self.failure, self.failing_since) = (true, None, None);
    }

    /// Records a failure of the backend, and returns the moment since which it fails.
    pub(super) fn fails(&mut self, failure: Error, now: Moment) -> Moment {
        let since = *self.failing_since.get_or_insert(now);
        // A dead backend is reported as such, never as contention (law W3). A single attempt that
        // was cut at the deadline is no sign of a dead backend.
        let only_cut = self.held && self.cut.is_some() && since == now;
        self.failure = (!only_cut).then_some(failure);
        since
    }

    /// Makes the error with which the acquisition ends. It claims no more than is known.
    pub(super) fn error(&self, kind: ErrorKind, why: &str, now: Moment) -> Error {
        if let Some(failure) = &self.failure {
            return failure.clone();
        }
        let found = match self.holder {
            Some((_, Busy { foreign: true, remaining: None, .. })) => {
                "another library has taken the lock, without an expiry"
            }
            Some((_, Busy { foreign: true, .. })) => "another library has taken the lock",
            _ => "another owner holds the lock",
        };
        let message = match (self.cut, self.holder) {
            (Some(limit), Some((at, _))) => format!(
                "the last attempt had no answer within {limit:.1?}; at the one {:.1?} ago: {found}{why}",
                now.since(at)
            ),
            (Some(limit), None) => format!(
                "the attempt had no answer within {limit:.1?}; others wait for the lock as well{why}"
            ),
            (None, _) => format!("{found}{why}"),
        };
        Error::new(kind, message).with_remaining(self.remaining())
    }
}
