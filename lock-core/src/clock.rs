//! Clocks: where "now" comes from, so that tests can own it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A sleep that owns everything it needs.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tells the time and waits for it.
///
/// Two methods, so that a test can own both. The moments of one clock mean nothing to another.
///
/// # Contract
///
/// `now` never goes backwards. `sleep_until` may wake late and, after a suspend, very late:
/// timers are hints, so core compares `now` again on every wake-up (law G1).
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the present moment.
    fn now(&self) -> Moment;

    /// Waits until `now()` has reached `moment`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the sleep loses nothing.
    fn sleep_until(&self, moment: Moment) -> Sleep;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Moment {
        (**self).now()
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        (**self).sleep_until(moment)
    }
}

/// A point on a [`Clock`]: the time since that clock's own beginning.
///
/// Counts nanoseconds, for five centuries. Arithmetic saturates, so no duration can overflow it.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

/// The nanoseconds of a duration; the longest are all the same.
const fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

impl Moment {
    /// The end of time: a deadline that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// Makes the moment that is `elapsed` after the clock's beginning.
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(nanos(elapsed))
    }

    /// Returns the time since the clock's beginning.
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Returns the moment `later`, or [`Moment::NEVER`].
    #[must_use]
    pub const fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanos(later)))
    }

    /// Returns the moment `earlier`, or the clock's beginning.
    #[must_use]
    pub const fn before(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(earlier)))
    }

    /// Returns the time from `earlier` to this moment, zero if it is the other way round.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Moment").field(&self.since_start()).finish()
    }
}

/// Reads the system's clock that also counts suspended time: the default for stores elsewhere.
///
/// On Linux and Android it is `CLOCK_BOOTTIME`, on Apple systems `CLOCK_MONOTONIC` (which counts
/// sleep there), elsewhere [`std::time::Instant`] (which counts sleep on Windows). `Instant` on Linux
/// does not, and a laptop or VM that slept through its lease would believe that it still held the
/// lock. Sleeps are tokio timers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        Moment::from_start(system_time())
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        Box::pin(async move {
            loop {
                let left = moment.since(Self.now());
                if left.is_zero() {
                    return;
                }
                tokio::time::sleep(left).await;
            }
        })
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
const SUSPEND_AWARE: rustix::time::ClockId = rustix::time::ClockId::Boottime;
#[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
const SUSPEND_AWARE: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

#[cfg(unix)]
fn system_time() -> Duration {
    // The kernel never reports a negative time since boot.
    rustix::time::clock_gettime(SUSPEND_AWARE).try_into().unwrap_or_default()
}

#[cfg(not(unix))]
fn system_time() -> Duration {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    START.elapsed()
}

/// Reads tokio's clock, so `start_paused` and `tokio::time::advance` own the time.
///
/// Without a paused runtime it is `std::time::Instant`, which stops in suspend on Linux: right for
/// an in-process backend, wrong for a store on another machine.
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: tokio::time::Instant,
}

impl TokioClock {
    /// Starts a clock at the present moment.
    pub fn new() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Moment {
        Moment::from_start(self.start.elapsed())
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        let start = self.start;
        Box::pin(async move {
            match start.checked_add(moment.since_start()) {
                Some(instant) => tokio::time::sleep_until(instant).await,
                None => std::future::pending().await,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_saturate_at_both_ends() {
        let start = Moment::default();
        assert_eq!(start.after(Duration::MAX).after(Duration::MAX), Moment::NEVER);
        assert_eq!(start.before(Duration::MAX), start);
        assert_eq!(start.since(Moment::NEVER), Duration::ZERO);
    }

    #[test]
    fn g1_bw15_the_system_clock_is_monotonic() {
        let seen: Vec<_> = (0..1000).map(|_| SystemClock.now()).collect();
        assert!(seen.is_sorted());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn g1_the_system_clock_counts_suspended_time() {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
        let boot: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
        let now = SystemClock.now().since_start().as_secs_f64();
        assert!((now - boot).abs() < 60.0, "{now} is not the {boot} s since boot");
    }

    #[tokio::test(start_paused = true)]
    async fn sleeps_end_at_their_moment_on_tokio_time() {
        let clock = TokioClock::new();
        let wake = clock.now().after(Duration::from_secs(3600));
        clock.sleep_until(wake).await;
        assert_eq!(clock.now(), wake);
    }
}
