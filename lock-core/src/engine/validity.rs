use std::time::Duration;

use crate::claim::Ttl;
use crate::clock::Moment;

/// The share of the ttl by which the clocks of holder and store may drift apart: 1 %, as in the
/// Redlock description on redis.io and its usual implementations.
const DRIFT_DIVISOR: u128 = 100;

/// Covers the resolution of both clocks; redis.io counts 1 ms for each side.
const GRANULARITY: Duration = Duration::from_millis(2);

/// The longest default stop margin.
const LONGEST_MARGIN: Duration = Duration::from_secs(5);

/// How long a grant may be believed: from *before* the request left (law G1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) deadline: Moment,
}

impl Validity {
    /// Dates a grant or renewal whose request left at `sent`.
    pub(crate) fn from_sent(sent: Moment, ttl: Ttl) -> Self {
        Self { deadline: sent.after(Self::length(ttl)) }
    }

    /// Returns `ttl − ⌈1 % drift⌉ − 2 ms`, zero for tiny ttls.
    pub(crate) fn length(ttl: Ttl) -> Duration {
        let ttl = ttl.get();
        // A hundredth of a ttl always fits 64 bits.
        let drift = u64::try_from(ttl.as_nanos().div_ceil(DRIFT_DIVISOR)).unwrap_or(u64::MAX);
        ttl.saturating_sub(Duration::from_nanos(drift)).saturating_sub(GRANULARITY)
    }

    /// How long before the deadline the holder is told to stop, unless the client says otherwise.
    pub(crate) fn default_margin(ttl: Ttl) -> Duration {
        (ttl.get() / 10).min(LONGEST_MARGIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn g1_validity_counts_from_before_the_request_less_drift_and_granularity() {
        let sent = Moment::from_start(Duration::from_secs(100));
        let ttl = Ttl::new(Duration::from_secs(30)).unwrap();
        let deadline = Validity::from_sent(sent, ttl).deadline;
        assert_eq!(deadline, sent.after(Duration::from_millis(30_000 - 300 - 2)));
    }

    proptest! {
        #[test]
        fn g1_a_holder_whose_clock_runs_one_percent_slow_still_stops_first(
            millis in 1u64..=Ttl::MAX.as_millis(), sent in any::<u32>(), travel in any::<u32>(),
        ) {
            let ttl = Ttl::new(Duration::from_millis(millis)).unwrap();
            let sent = Moment::from_start(Duration::from_millis(sent.into()));
            let length = Validity::from_sent(sent, ttl).deadline.since(sent);
            // The store counts the whole ttl from the arrival, `travel` after `sent`; the holder's
            // slow clock shows `length` when this much true time has passed since `sent`:
            let true_time = length.as_nanos() * 100 / 99;
            let store_frees = ttl.get().as_nanos() + u128::from(travel);
            prop_assert!(true_time <= store_frees);
            prop_assert!(Validity::default_margin(ttl) <= ttl.get() / 10);
        }
    }
}
