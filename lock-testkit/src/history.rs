//! `History`: a record of holds that finds overlaps and fencing tokens out of order.

use std::sync::{Mutex, PoisonError};

use lock_core::clock::Moment;
use lock_core::{FencingToken, LockKey};

/// Records holds, and checks exclusion and the order of fencing tokens.
///
/// # Examples
///
/// ```
/// use lock_core::clock::Moment;
/// use lock_core::{FencingToken, LockKey};
/// use lock_testkit::History;
/// use std::time::Duration;
///
/// let history = History::new();
/// let (key, at) = (LockKey::new("k").unwrap(), |s| Moment::from_start(Duration::from_secs(s)));
/// history.held(&key, at(1), at(3), FencingToken::new(7));
/// history.held(&key, at(3), at(4), FencingToken::new(8));
/// history.check().unwrap();
/// history.held(&key, at(2), at(5), FencingToken::new(9));
/// assert!(history.check().unwrap_err().contains("overlap"));
/// ```
#[derive(Debug, Default)]
pub struct History {
    holds: Mutex<Vec<Hold>>,
}

#[derive(Clone, Debug)]
struct Hold {
    key: LockKey,
    from: Moment,
    until: Moment,
    fencing: Option<FencingToken>,
}

impl History {
    /// Makes an empty history.
    pub fn new() -> Self {
        Self::default()
    }

    /// Records one hold of a key.
    ///
    /// Pass the moment at which the grant arrived, and the moment before the release left or the
    /// deadline.
    pub fn held(&self, key: &LockKey, from: Moment, until: Moment, fencing: Option<FencingToken>) {
        let hold = Hold { key: key.clone(), from, until, fencing };
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).push(hold);
    }

    /// Returns the number of recorded holds.
    pub fn len(&self) -> usize {
        self.holds.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Returns whether no hold was recorded.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks exclusion and fencing.
    ///
    /// * No two holds of a key overlap (law E1).
    /// * Of two holds of a key, the later has the larger fencing token (law F1).
    ///
    /// # Errors
    ///
    /// A text with the first two holds that contradict each other.
    pub fn check(&self) -> Result<(), String> {
        let mut holds = self.holds.lock().unwrap_or_else(PoisonError::into_inner).clone();
        holds.sort_by(|a, b| (&a.key, a.from, a.until).cmp(&(&b.key, b.from, b.until)));
        for pair in holds.windows(2) {
            let [earlier, later] = pair else { continue };
            if earlier.key != later.key {
                continue;
            }
            if later.from < earlier.until {
                return Err(format!("two holds overlap: {earlier:?} and {later:?}"));
            }
            if earlier.fencing >= later.fencing && later.fencing.is_some() {
                return Err(format!("a fencing token does not grow: {earlier:?}, {later:?}"));
            }
        }
        Ok(())
    }
}
