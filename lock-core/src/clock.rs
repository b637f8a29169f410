//! Clocks, so that tests can control the time.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// A sleep that borrows nothing.
///
/// # Examples
///
/// ```
/// use lock_core::clock::{Clock, Sleep, SystemClock};
/// use std::time::Duration;
///
/// fn nap() -> Sleep {
///     SystemClock.sleep(Duration::from_millis(1))
/// }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(nap());
/// ```
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Returns the present moment, and waits for later ones.
///
/// The moments of two clocks cannot be compared.
///
/// # Contract
///
/// * `now` never goes backwards.
/// * `sleep_until` may wake late, and very late after a suspend. Core therefore calls `now` on
///   every wake-up (law G1).
///
/// # Examples
///
/// ```
/// use lock_core::clock::{Clock, Moment, Sleep, SystemClock};
/// use std::time::Duration;
///
/// /// A clock that is ahead of the system's by a minute.
/// #[derive(Debug)]
/// struct Ahead;
///
/// impl Clock for Ahead {
///     fn now(&self) -> Moment {
///         SystemClock.now().after(Duration::from_secs(60))
///     }
///
///     fn sleep_until(&self, moment: Moment) -> Sleep {
///         SystemClock.sleep_until(moment.before(Duration::from_secs(60)))
///     }
/// }
/// ```
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Returns the present moment.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::clock::{Clock, SystemClock};
    ///
    /// let before = SystemClock.now();
    /// assert!(SystemClock.now() >= before);
    /// ```
    fn now(&self) -> Moment;

    /// Waits until `now()` has reached `moment`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the sleep loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::clock::{Clock, SystemClock};
    /// use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    ///
    /// let wake = SystemClock.now().after(Duration::from_millis(2));
    /// SystemClock.sleep_until(wake).await;
    /// assert!(SystemClock.now() >= wake);
    /// # }
    /// ```
    fn sleep_until(&self, moment: Moment) -> Sleep;

    /// Waits for a time from now on.
    ///
    /// # Cancel safety
    ///
    /// Dropping the sleep loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::clock::Clock;
    /// use lock_memory::ManualClock;
    /// use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    ///
    /// let (clock, hour) = (ManualClock::new(), Duration::from_secs(3600));
    /// let napping = clock.sleep(hour);
    /// clock.advance(hour).await; // takes no real time
    /// napping.await;
    /// # }
    /// ```
    fn sleep(&self, time: Duration) -> Sleep {
        self.sleep_until(self.now().after(time))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn sleep(&self, time: Duration) -> Sleep {
        (**self).sleep(time)
    }

    fn now(&self) -> Moment {
        (**self).now()
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        (**self).sleep_until(moment)
    }
}

/// A point in time on a [`Clock`], counted from the start of that clock.
///
/// It counts nanoseconds for up to five centuries. Arithmetic saturates, so no duration overflows.
///
/// # Examples
///
/// ```
/// use lock_core::clock::Moment;
/// use std::time::Duration;
///
/// let minute = Duration::from_secs(60);
/// let moment = Moment::from_start(minute);
/// assert_eq!(moment.after(minute).since(moment), minute);
/// assert_eq!(moment.before(2 * minute), Moment::default()); // the start of the clock
/// assert_eq!(moment.after(Duration::MAX), Moment::NEVER);
/// assert_eq!(moment.since_start(), minute);
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

/// Returns the nanoseconds of a duration. Durations that are too long count as `u64::MAX`.
const fn nanos(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos() as u64)
}

impl Moment {
    /// A deadline that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// Makes the moment that is `elapsed` after the start of the clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::clock::Moment;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Moment::from_start(Duration::ZERO), Moment::default());
    /// ```
    pub const fn from_start(elapsed: Duration) -> Self {
        Self(nanos(elapsed))
    }

    /// Returns the time since the start of the clock.
    pub const fn since_start(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Returns the moment that is `later` after this one, at most [`Moment::NEVER`].
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::clock::Moment;
    /// use std::time::Duration;
    ///
    /// let start = Moment::default();
    /// assert_eq!(start.after(Duration::from_secs(5)), Moment::from_start(Duration::from_secs(5)));
    /// ```
    #[must_use]
    pub const fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(nanos(later)))
    }

    /// Returns the moment that is `earlier` before this one, at least the start of the clock.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::clock::Moment;
    /// use std::time::Duration;
    ///
    /// let deadline = Moment::from_start(Duration::from_secs(30));
    /// let early = deadline.before(Duration::from_secs(5));
    /// assert_eq!(early, Moment::from_start(Duration::from_secs(25)));
    /// ```
    #[must_use]
    pub const fn before(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(nanos(earlier)))
    }

    /// Returns the time from `earlier` to this moment, or zero if `earlier` is later.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::clock::Moment;
    /// use std::time::Duration;
    ///
    /// let start = Moment::default();
    /// let later = start.after(Duration::from_secs(5));
    /// assert_eq!(later.since(start), Duration::from_secs(5));
    /// assert_eq!(start.since(later), Duration::ZERO);
    /// ```
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

/// Reads the clock of the system that also counts suspended time.
///
/// It is the default for stores outside this process. A clock without suspended time is not safe: a
/// laptop or VM that slept through its lease would still believe that it held the lock.
///
/// | system | clock |
/// |---|---|
/// | Linux, Android | `CLOCK_BOOTTIME`, because `Instant` does not count suspended time there |
/// | Apple | `CLOCK_MONOTONIC`, which counts suspended time there |
/// | Windows and others | [`std::time::Instant`], which counts suspended time on Windows |
///
/// Sleeps are tokio timers.
///
/// # Examples
///
/// ```
/// use lock_core::clock::{Clock, SystemClock};
///
/// let began = SystemClock.now();
/// // … work, or a suspended laptop …
/// println!("{:?} have passed", SystemClock.now().since(began));
/// ```
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

/// Reads the clock of tokio, so a test controls it with `start_paused` and `tokio::time::advance`.
///
/// **Do not use it with a store on another machine.** Without a paused runtime it is
/// [`std::time::Instant`], which does not count suspended time on Linux. It is right for a store
/// inside this process.
///
/// # Examples
///
/// ```
/// use lock_core::clock::{Clock, TokioClock};
/// use std::time::Duration;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// // In a test with `#[tokio::test(start_paused = true)]`:
/// let clock = TokioClock::new();
/// let began = clock.now();
/// tokio::time::advance(Duration::from_secs(3600)).await; // in no time
/// assert_eq!(clock.now().since(began), Duration::from_secs(3600));
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: tokio::time::Instant,
}

impl TokioClock {
    /// Makes a clock that starts now.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::clock::{Clock, Moment, TokioClock};
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    ///
    /// assert_eq!(TokioClock::new().now(), Moment::default()); // on paused time
    /// # }
    /// ```
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
