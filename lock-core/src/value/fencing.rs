//! Fencing tokens, which number the grants of a key.

use std::fmt;
use std::num::NonZeroU64;

use crate::error::{Error, ErrorKind};

/// Numbers the grants of one key: of two holders, the later has the larger token (law F1).
///
/// Send it with every write, and have the resource reject smaller ones, as a
/// [`FencingGate`](crate::fencing::FencingGate) does. Then a paused holder whose lease has ended
/// cannot overwrite the work of the next holder. The token is no secret and grants nothing.
///
/// # In a database
///
/// Every token fits a signed column of 64 bits, such as `BIGINT`: tokens go from 1 to 2⁶³ − 1, and
/// no larger one can be made. Write the data and compare the token in one statement:
///
/// ```sql
/// CREATE TABLE invoice (id TEXT PRIMARY KEY, state TEXT, token BIGINT NOT NULL);
///
/// -- changes no row if a later holder has written before
/// UPDATE invoice SET state = $1, token = $2 WHERE id = $3 AND token <= $2;
///
/// -- the same for a row that may not exist yet
/// INSERT INTO invoice (id, state, token) VALUES ($3, $1, $2)
/// ON CONFLICT (id) DO UPDATE SET state = excluded.state, token = excluded.token
/// WHERE invoice.token <= excluded.token;
/// ```
///
/// If the row exists and the statement has changed none, the writer is stale. Treat that as an
/// error.
///
/// The statement admits the same token again, because one writer may write twice. A store that was
/// split may grant one token to two owners (law F1). Where that matters, keep the
/// [fingerprint](crate::OwnerFingerprint) of the owner in a column as well. Refuse an equal token of
/// another owner, as [`FencingGate`](crate::fencing::FencingGate) does.
///
/// If what is written depends on what was read, read the row and its token in the transaction of
/// the write, and refuse a token that is larger. Otherwise a writer that has lost its lock can still
/// write between the reading and the writing of the next holder, which then overwrites it.
///
/// # Examples
///
/// ```
/// use lock_core::FencingToken;
///
/// let (earlier, later) = (FencingToken::new(33).unwrap(), FencingToken::new(34).unwrap());
/// assert!(later > earlier);
///
/// let column = i64::from(later); // to write it, and to read it again:
/// assert_eq!(FencingToken::try_from(column)?, later);
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(NonZeroU64);

impl FencingToken {
    /// The largest number to which a holder may [raise](crate::backend::FencingFloor::raise) its
    /// own.
    ///
    /// It is 2⁵³ − 1, because some stores count in floating-point numbers.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::FencingToken;
    ///
    /// assert_eq!(FencingToken::MAX_RAISE.as_u64(), 9_007_199_254_740_991);
    /// ```
    pub const MAX_RAISE: Self = match Self::new((1 << 53) - 1) {
        Some(largest) => largest,
        None => Self(NonZeroU64::MIN),
    };

    /// Makes a token from its number, or returns `None` for zero and for numbers beyond `i64::MAX`.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::FencingToken;
    ///
    /// assert_eq!(FencingToken::new(34).map(FencingToken::as_u64), Some(34));
    /// assert_eq!(FencingToken::new(0), None);
    /// assert_eq!(FencingToken::new(u64::MAX), None);
    /// ```
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) if number.get() <= i64::MAX.unsigned_abs() => Some(Self(number)),
            _ => None,
        }
    }

    /// Returns the number, to send along with a write.
    ///
    /// `i64::from(token)` returns it for a driver without unsigned integers.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::FencingToken;
    ///
    /// assert_eq!(FencingToken::new(34).unwrap().as_u64(), 34);
    /// ```
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
}

impl From<FencingToken> for u64 {
    fn from(token: FencingToken) -> Self {
        token.as_u64()
    }
}

impl From<FencingToken> for i64 {
    fn from(token: FencingToken) -> Self {
        token.as_u64().cast_signed() // no token is larger than `i64::MAX`
    }
}

impl TryFrom<u64> for FencingToken {
    type Error = Error;

    /// Makes a token from its number.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for zero and for numbers beyond `i64::MAX`.
    fn try_from(number: u64) -> Result<Self, Error> {
        Self::new(number).ok_or_else(|| no_token(number.into()))
    }
}

impl TryFrom<i64> for FencingToken {
    type Error = Error;

    /// Makes a token from what a signed column holds.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for zero and for negative numbers.
    fn try_from(number: i64) -> Result<Self, Error> {
        let positive = u64::try_from(number).ok().and_then(Self::new);
        positive.ok_or_else(|| no_token(number.into()))
    }
}

fn no_token(number: i128) -> Error {
    let message = format!("{number} is not a fencing token; tokens are 1 to {}", i64::MAX);
    Error::new(ErrorKind::Invalid, message)
}

impl fmt::Display for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for FencingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FencingToken({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f1_every_fencing_token_fits_a_signed_column() {
        for number in [1, 2, i64::MAX - 1, i64::MAX] {
            let token = FencingToken::try_from(number).unwrap();
            assert_eq!((i64::from(token), u64::from(token)), (number, number.unsigned_abs()));
            assert_eq!(FencingToken::try_from(number.unsigned_abs()).unwrap(), token);
        }
        for beyond in [0, i64::MAX.unsigned_abs() + 1, u64::MAX] {
            assert_eq!(FencingToken::new(beyond), None);
            let error = FencingToken::try_from(beyond).unwrap_err();
            assert!(error.is_invalid() && error.to_string().contains("1 to 9223372036854775807"));
        }
        for negative in [0, -1, i64::MIN] {
            let error = FencingToken::try_from(negative).unwrap_err();
            assert!(error.to_string().starts_with(&format!("{negative} is not a fencing token")));
        }
    }
}
