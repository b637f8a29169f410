//! Times to live that are in range.

use std::fmt;
use std::num::NonZeroU64;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};

/// A time to live in whole milliseconds, between [`Ttl::MIN`] and [`Ttl::MAX`].
///
/// A time that is zero or too long is refused here, before any request (law T1). So every backend
/// refuses the same times, and none needs a check of its own.
///
/// # Examples
///
/// ```
/// use lock_core::backend::Ttl;
/// use std::time::Duration;
///
/// let ttl = Ttl::new(Duration::from_micros(1)).unwrap(); // rounded up
/// assert_eq!((ttl.as_millis(), ttl.as_duration()), (1, Duration::from_millis(1)));
/// assert!(Ttl::new(Duration::ZERO).unwrap_err().is_invalid());
/// assert!(Ttl::new(Duration::MAX).unwrap_err().is_invalid());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ttl {
    millis: NonZeroU64,
}

/// Covers the resolution of both clocks; redis.io counts 1 ms for each side.
const GRANULARITY: Duration = Duration::from_millis(2);

impl Ttl {
    /// The shortest ttl: one millisecond.
    pub const MIN: Self = Self { millis: NonZeroU64::MIN };
    /// The longest ttl: 365 days.
    pub const MAX: Self =
        Self { millis: NonZeroU64::MIN.saturating_add(365 * 24 * 60 * 60 * 1000 - 1) };

    /// The smallest allowance for clock drift between holder and store, in millionths of the time:
    /// 1 %, as in the Redlock description on redis.io and its usual implementations.
    pub(crate) const DRIFT_MILLIONTHS: u32 = 10_000;

    /// Checks a duration and rounds it up to whole milliseconds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when `ttl` is zero or longer than [`Ttl::MAX`].
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Ttl;
    /// use std::time::Duration;
    ///
    /// assert_eq!(Ttl::new(Duration::from_secs(30))?.as_millis(), 30_000);
    /// assert!(Ttl::new(Duration::ZERO).unwrap_err().is_invalid());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn new(ttl: Duration) -> Result<Self> {
        let millis = ttl.as_nanos().div_ceil(1_000_000);
        let refuse = |why| Err(Error::new(ErrorKind::Invalid, why));
        match u64::try_from(millis).map(NonZeroU64::new) {
            Ok(None) => refuse("the ttl is zero; it must be longer".to_owned()),
            Ok(Some(millis)) if millis <= Self::MAX.millis => Ok(Self { millis }),
            _ => refuse(format!("the ttl is {}s; the longest is 365 days", ttl.as_secs())),
        }
    }

    /// Returns the ttl as a duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_millis(self.millis.get())
    }

    /// Returns the ttl in milliseconds.
    pub const fn as_millis(self) -> u64 {
        self.millis.get()
    }

    /// Returns how long a lease of this ttl is certainly held (law G1).
    ///
    /// It counts from *before* the request left. It is the ttl less 1 % for the drift of clocks and
    /// 2 ms for their resolution, or zero if the ttl is too short.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Ttl;
    /// use std::time::Duration;
    ///
    /// let ttl = Ttl::new(Duration::from_secs(30))?;
    /// assert_eq!(ttl.validity(), Duration::from_millis(30_000 - 300 - 2));
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn validity(self) -> Duration {
        self.validity_with(Self::DRIFT_MILLIONTHS)
    }

    /// As [`validity`](Ttl::validity), for clocks that drift apart by this part of the time.
    pub(crate) fn validity_with(self, drift_millionths: u32) -> Duration {
        let ttl = self.as_duration();
        let drift = (ttl.as_nanos() * u128::from(drift_millionths)).div_ceil(1_000_000);
        // A part of a ttl always fits 64 bits.
        let drift = Duration::from_nanos(u64::try_from(drift).unwrap_or(u64::MAX));
        ttl.saturating_sub(drift).saturating_sub(GRANULARITY)
    }
}

impl From<Ttl> for Duration {
    fn from(ttl: Ttl) -> Self {
        ttl.as_duration()
    }
}

impl TryFrom<Duration> for Ttl {
    type Error = Error;

    fn try_from(ttl: Duration) -> Result<Self> {
        Self::new(ttl)
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", humantime::format_duration(self.as_duration()))
    }
}

impl fmt::Debug for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ttl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t1_bl10_submillisecond_ttls_round_up_and_ttls_out_of_range_are_refused() {
        let millis = |d| Ttl::new(d).map(Ttl::as_millis);
        assert_eq!(millis(Duration::from_nanos(1)).unwrap(), 1);
        assert_eq!(millis(Duration::from_micros(999)).unwrap(), 1);
        assert_eq!(millis(Duration::from_micros(1_001)).unwrap(), 2);
        assert_eq!(Ttl::new(Ttl::MAX.as_duration()).unwrap(), Ttl::MAX);
        for refused in [
            Duration::ZERO,
            Ttl::MAX.as_duration() + Duration::from_nanos(1),
            Duration::from_millis(u64::MAX),
            Duration::from_secs(1 << 53),
            Duration::MAX,
        ] {
            assert!(millis(refused).unwrap_err().is_invalid(), "{refused:?}");
        }
    }
}
