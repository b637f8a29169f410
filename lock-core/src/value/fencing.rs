//! Fencing tokens, which number the grants of a key.

use std::fmt;
use std::num::NonZeroU64;

/// Numbers the grants of one key: of two holders, the later has the larger token (law F1).
///
/// Send it with every write, and have the resource reject smaller ones, as a
/// [`FencingGate`](crate::fencing::FencingGate) does. Then a paused holder whose lease has ended
/// cannot overwrite the work of the next holder. The token is no secret and grants nothing.
///
/// # Examples
///
/// ```
/// use lock_core::FencingToken;
///
/// let (earlier, later) = (FencingToken::new(33).unwrap(), FencingToken::new(34).unwrap());
/// assert!(later > earlier);
/// assert_eq!(later.as_u64(), 34);
/// assert!(FencingToken::new(0).is_none());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingToken(NonZeroU64);

impl FencingToken {
    /// The largest token to which a holder may [raise](crate::backend::FencingFloor::raise) its
    /// own.
    ///
    /// It is 2⁵³ − 1, because some stores count in floating-point numbers.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::FencingToken;
    ///
    /// assert_eq!(FencingToken::LARGEST.as_u64(), 9_007_199_254_740_991);
    /// ```
    pub const LARGEST: Self = match Self::new((1 << 53) - 1) {
        Some(largest) => largest,
        None => Self(NonZeroU64::MAX),
    };

    /// Makes a token from its number, or returns `None` for zero.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::FencingToken;
    ///
    /// assert_eq!(FencingToken::new(34).map(FencingToken::as_u64), Some(34));
    /// assert_eq!(FencingToken::new(0), None);
    /// ```
    pub const fn new(number: u64) -> Option<Self> {
        match NonZeroU64::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// Returns the number, to send along with a write.
    ///
    /// A database keeps it in a column of 64 bits, such as `BIGINT`. The tokens of this project's
    /// stores fit a signed one: they begin with the time in microseconds since 1970, or with 1.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::FencingToken;
    ///
    /// let token = FencingToken::new(34).unwrap();
    /// let column = i64::try_from(token.as_u64())?; // for a driver without unsigned integers
    /// assert_eq!(column, 34);
    /// # Ok::<(), std::num::TryFromIntError>(())
    /// ```
    pub const fn as_u64(self) -> u64 {
        self.0.get()
    }
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
