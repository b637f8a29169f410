//! The arithmetic of deadlines: until when a lease is certainly held, without clock and I/O.

use std::time::Duration;

use crate::backend::Release;
use crate::clock::Moment;
use crate::engine::Margins;
use crate::value::Ttl;

/// How long a request without a known outcome may still take effect. Backends keep tombstones for
/// as long.
const STRAY_LIFE: Duration = Release::TOMBSTONE;

/// Computes until when a lease is certainly held.
///
/// A renewal whose answer was lost may take effect late. It then sets the remaining time to *its*
/// ttl. So while such a renewal is possible, the deadline counts with no more than its ttl, even if
/// a later renewal was granted a longer one (law G1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    /// The ttl of the last confirmed request.
    ttl: Ttl,
    /// The ttl with which the deadline was computed. Less than `ttl` while a stray request may
    /// shorten the lease.
    span: Ttl,
    /// The lease does not end before this moment, whatever the requests in flight do.
    deadline: Moment,
    stray: Option<Stray>,
}

/// The shortest ttl of the requests without a known outcome, and until when they may take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stray {
    ttl: Ttl,
    until: Moment,
}

/// A request in flight. Dropping it without [`Validity::confirm`] or [`Validity::refute`] means that
/// its outcome is unknown.
#[must_use]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    at: Moment,
    ttl: Ttl,
    before: Validity,
}

impl Validity {
    /// Begins with a grant whose request left at `sent`. A late copy of that request never shortens
    /// the lease (law E2).
    pub(crate) fn granted(sent: Moment, ttl: Ttl, margins: Margins) -> Self {
        let deadline = sent.after(margins.validity(ttl));
        Self { ttl, span: ttl, deadline, stray: None }
    }

    /// Returns the ttl to renew with.
    pub(crate) fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// Returns whether a renewal without a known outcome may change when the lease ends.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.stray.is_some()
    }

    /// Returns the moment until which the holder may rely on the lock.
    pub(crate) fn deadline(&self) -> Moment {
        self.deadline
    }

    /// Returns the moment at which the lock is declared lost, a margin before the deadline.
    pub(crate) fn stop_at(&self, margins: Margins) -> Moment {
        self.deadline.before(margins.stop(self.span))
    }

    /// Records that a renewal leaves. From now on it may take effect at any moment.
    pub(crate) fn send(&mut self, at: Moment, ttl: Ttl, margins: Margins) -> Sent {
        let before = *self;
        let earlier = self.stray.filter(|stray| at < stray.until);
        self.stray = Some(Stray {
            ttl: earlier.map_or(ttl, |stray| stray.ttl.min(ttl)),
            until: at.after(STRAY_LIFE),
        });
        let deadline = at.after(margins.validity(ttl));
        if deadline < self.deadline {
            (self.deadline, self.span) = (deadline, ttl);
        }
        Sent { at, ttl, before }
    }

    /// Records that the renewal took effect.
    pub(crate) fn confirm(&mut self, sent: Sent, margins: Margins) {
        self.stray = sent.before.stray.filter(|stray| sent.at < stray.until);
        self.ttl = sent.ttl;
        self.span = self.stray.map_or(sent.ttl, |stray| stray.ttl.min(sent.ttl));
        self.deadline = sent.at.after(margins.validity(self.span));
    }

    /// Records that the renewal had no effect.
    pub(crate) fn refute(&mut self, sent: Sent) {
        *self = sent.before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn at(millis: u64) -> Moment {
        Moment::from_start(ms(millis))
    }

    fn ttl(millis: u64) -> Ttl {
        Ttl::new(ms(millis)).unwrap()
    }

    #[test]
    fn g1_validity_counts_from_before_the_request_less_drift_and_granularity() {
        let validity = Validity::granted(at(100_000), ttl(30_000), Margins::default());
        assert_eq!(validity.deadline(), at(100_000 + 30_000 - 300 - 2));
    }

    #[test]
    fn g1_a_short_renewal_without_an_answer_limits_what_a_longer_one_gives() {
        let mut validity = Validity::granted(at(0), ttl(30_000), Margins::default());
        let _forgotten = validity.send(at(0), ttl(10_000), Margins::default());
        let longer = validity.send(at(2_000), ttl(60_000), Margins::default());
        validity.confirm(longer, Margins::default());
        assert_eq!(validity.deadline(), at(2_000).after(ttl(10_000).validity()));
        assert_eq!(validity.ttl(), ttl(60_000));
        let later = validity.send(at(61_000), ttl(60_000), Margins::default());
        validity.confirm(later, Margins::default());
        assert_eq!(validity.deadline(), at(61_000).after(ttl(60_000).validity()), "not for ever");
    }

    #[test]
    fn t2_a_renewal_that_certainly_did_nothing_changes_nothing() {
        let mut validity = Validity::granted(at(0), ttl(30_000), Margins::default());
        let before = validity;
        let refused = validity.send(at(1_000), ttl(10), Margins::default());
        assert!(validity.deadline() < before.deadline());
        validity.refute(refused);
        assert_eq!(validity, before);
    }

    proptest! {
        #[test]
        fn g1_a_holder_whose_clock_runs_one_percent_slow_still_stops_first(
            millis in 1u64..=Ttl::MAX.as_millis(), travel in any::<u32>(),
        ) {
            // The store counts the whole ttl from the arrival; the holder's slow clock shows the
            // validity when this much true time has passed since before the request left:
            let true_time = ttl(millis).validity().as_nanos() * 100 / 99;
            prop_assert!(true_time <= ms(millis).as_nanos() + u128::from(travel));
        }

        /// Renewals of any ttls, confirmed, refused, lost or late: at every end of the lease in the
        /// store, the holder has stopped relying on it.
        #[test]
        fn g1_validity_never_outlives_the_lease_whatever_becomes_of_renewals(
            first in 4u64..20_000,
            stray_grant in proptest::option::of(0u64..50_000),
            steps in proptest::collection::vec((1u64..8_000, 4u64..40_000, 0u8..5, 0u64..50_000), 1..20),
        ) {
            let mut validity = Validity::granted(at(0), ttl(first), Margins::default());
            let mut landings: Vec<(u64, u64)> = vec![(0, first)];
            let mut deadlines = vec![(0, validity.deadline())];
            let mut now = 0;
            for (pause, millis, outcome, late) in steps {
                now += pause;
                if at(now) >= validity.deadline() {
                    break; // the holder sends nothing after its deadline
                }
                let sent = validity.send(at(now), ttl(millis), Margins::default());
                deadlines.push((now, validity.deadline()));
                match outcome {
                    0 | 1 => {
                        landings.push((now, millis));
                        validity.confirm(sent, Margins::default());
                    }
                    2 => validity.refute(sent),
                    3 => landings.push((now, millis)), // it landed, the answer was lost
                    _ => landings.push((now + late, millis)),
                }
                deadlines.push((now, validity.deadline()));
            }
            // The true end: landings in order, of two at a time the shorter last, until a gap.
            landings.sort_unstable_by_key(|(landed, millis)| (*landed, u64::MAX - millis));
            let mut ends = first;
            let mut copy = stray_grant;
            for (landed, millis) in landings {
                // A late copy of the acquisition lengthens, and never shortens (law E2).
                if let Some(late) = copy.filter(|late| *late <= landed && *late <= ends) {
                    ends = ends.max(late + first);
                    copy = None;
                }
                if landed > ends {
                    break;
                }
                ends = landed + millis;
            }
            let held = deadlines.iter().take_while(|(when, _)| *when <= ends);
            let valid_until = held.map(|(_, deadline)| *deadline).last().unwrap();
            prop_assert!(valid_until <= at(ends), "valid until {valid_until:?}, ended at {ends}");
        }
    }
}
