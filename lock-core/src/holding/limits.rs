//! Checks that a ttl is longer than its safety margins.

use std::time::Duration;

use super::validity::default_margin;
use crate::error::{Error, ErrorKind, Result};
use crate::value::Ttl;

/// Checks that a ttl is longer than its stop margin, and returns how much of it can be used.
pub(crate) fn check_margin(ttl: Ttl, margin: Option<Duration>) -> Result<Duration> {
    let margin = margin.unwrap_or_else(|| default_margin(ttl));
    let usable = ttl.validity().saturating_sub(margin);
    if usable.is_zero() {
        let message = format!(
            "the stop margin {margin:?} leaves nothing of the ttl {ttl}; choose a longer ttl"
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(usable)
}

/// Checks that a ttl is in range, and longer than the safety margins of law G1.
pub(crate) fn usable_ttl(ttl: Duration) -> Result<Ttl> {
    let ttl = Ttl::new(ttl)?;
    if ttl.validity().is_zero() {
        return Err(Error::new(
            ErrorKind::Invalid,
            format!("the ttl {ttl} is shorter than the safety margins; give at least 3ms"),
        ));
    }
    Ok(ttl)
}
