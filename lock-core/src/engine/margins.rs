//! The safety margins of a client: how much of a ttl is relied on.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::value::Ttl;

/// The default stop margin is never longer than this.
const LONGEST_STOP: Duration = Duration::from_secs(5);

/// How much earlier than its ttl a lease counts as ended (law G1), and how much before that it is
/// declared lost (law G2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Margins {
    /// How far clocks may drift apart, in millionths of the time. Never below
    /// [`Ttl::DRIFT_MILLIONTHS`].
    drift: u32,
    /// How long before its deadline a lock is declared lost; `None` means the default.
    stop: Option<Duration>,
}

impl Default for Margins {
    fn default() -> Self {
        Self { drift: Ttl::DRIFT_MILLIONTHS, stop: None }
    }
}

impl Margins {
    /// Makes margins from the settings of a client.
    ///
    /// # Errors
    ///
    /// The drift is out of range.
    pub(crate) fn new(drift: Option<f64>, stop: Option<Duration>) -> Result<Self> {
        let Some(drift) = drift else { return Ok(Self { stop, ..Self::default() }) };
        if !(0.01..=0.5).contains(&drift) {
            return Err(Error::misconfigured(format!(
                "the clock drift {drift} is out of range; use 0.01 to 0.5 (the default is 0.01)"
            )));
        }
        // In range, so it fits.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
        let millionths = (drift * 1e6).ceil() as u32;
        Ok(Self { drift: millionths.max(Ttl::DRIFT_MILLIONTHS), stop })
    }

    /// How long a lease of this ttl is certainly held, from before its request left.
    pub(crate) fn validity(self, ttl: Ttl) -> Duration {
        ttl.validity_with(self.drift)
    }

    /// How long before its deadline a lease of this ttl is declared lost.
    pub(crate) fn stop(self, ttl: Ttl) -> Duration {
        self.stop.unwrap_or_else(|| (ttl.as_duration() / 10).min(LONGEST_STOP))
    }

    /// Checks that a ttl is in range, and longer than the margin for clocks.
    pub(crate) fn usable_ttl(self, ttl: Duration) -> Result<Ttl> {
        let ttl = Ttl::new(ttl)?;
        if self.validity(ttl).is_zero() {
            let longer = (1..).find_map(|millis| {
                let ttl = Ttl::new(Duration::from_millis(millis)).ok()?;
                (!self.validity(ttl).is_zero()).then_some(millis)
            });
            let least = longer.unwrap_or_default();
            let message = format!(
                "the ttl {ttl} is shorter than the safety margins; give at least {least}ms"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(ttl)
    }

    /// Checks that a ttl is longer than its stop margin too, and returns how much of it can be used.
    pub(crate) fn usable_part(self, ttl: Ttl) -> Result<Duration> {
        let margin = self.stop(ttl);
        let usable = self.validity(ttl).saturating_sub(margin);
        if usable.is_zero() {
            let message = format!(
                "the stop margin {margin:?} leaves nothing of the ttl {ttl}; choose a longer ttl"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        Ok(usable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn g1_the_drift_can_only_be_raised() {
        let ttl = Ttl::new(Duration::from_secs(10)).unwrap();
        let validity = |drift| Margins::new(drift, None).unwrap().validity(ttl);
        assert_eq!(validity(None), ttl.validity());
        assert_eq!(validity(Some(0.01)), ttl.validity());
        assert_eq!(validity(Some(0.05)), Duration::from_millis(9_500 - 2));
        for (drift, least) in [(0.01, 3), (0.5, 5)] {
            let margins = Margins::new(Some(drift), None).unwrap();
            assert!(margins.usable_ttl(Duration::from_millis(least)).is_ok());
            let error = margins.usable_ttl(Duration::from_millis(least - 1)).unwrap_err();
            assert!(error.to_string().ends_with(&format!("give at least {least}ms")), "{error}");
        }
        for bad in [0.0, 0.009_999, 0.51, -1.0, f64::NAN, f64::INFINITY] {
            let error = Margins::new(Some(bad), None).unwrap_err();
            assert!(error.is_misconfigured() && error.to_string().contains("0.01 to 0.5"));
        }
    }

    proptest! {
        #[test]
        fn g1_no_drift_makes_a_lease_longer(millis in 1u64..=86_400_000, drift in 0.01f64..=0.5) {
            let ttl = Ttl::new(Duration::from_millis(millis)).unwrap();
            let margins = Margins::new(Some(drift), None).unwrap();
            prop_assert!(margins.validity(ttl) <= ttl.validity());
            let part = ttl.as_duration().mul_f64(1.0 - drift);
            prop_assert!(margins.validity(ttl) <= part);
            prop_assert!(margins.stop(ttl) <= ttl.as_duration() / 10);
        }
    }
}
