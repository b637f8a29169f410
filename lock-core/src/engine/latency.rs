//! The latency of the backend, and the time that a last attempt gets.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The latency of the last attempt that the backend answered.
#[derive(Debug, Default)]
pub(crate) struct Latency {
    /// In nanoseconds. Zero until the first answer, and never zero after it.
    last: AtomicU64,
}

impl Latency {
    pub(crate) fn observe(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.last.store(nanos.max(1), Ordering::Relaxed);
    }

    /// Returns how long after the deadline the last attempt of a bounded wait may end (law W1).
    ///
    /// It is twice the last latency, but at least 100 ms and at most one second. Before the first
    /// answer, it is half a second.
    pub(crate) fn grace(&self) -> Duration {
        match self.last.load(Ordering::Relaxed) {
            0 => Duration::from_millis(500),
            nanos => (Duration::from_nanos(nanos).saturating_mul(2))
                .clamp(Duration::from_millis(100), Duration::from_secs(1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w1_a_last_attempt_has_twice_the_time_that_the_backend_took_last() {
        let ms = Duration::from_millis;
        let latency = Latency::default();
        assert_eq!(latency.grace(), ms(500), "nothing is known");
        for (took, grace) in [(ms(0), 100), (ms(3), 100), (ms(120), 240), (ms(9_000), 1_000)] {
            latency.observe(took);
            assert_eq!(latency.grace(), ms(grace), "after {took:?}");
        }
    }
}
