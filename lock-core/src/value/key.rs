//! Lock keys and their limits.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// Names a lock.
///
/// Keys are compared byte by byte and never normalised (law K1). `"A"` and `"a"` are two locks, and
/// so are the composed and the decomposed spelling of one accented letter.
///
/// A key has 1 to [`LockKey::MAX_LEN`] bytes of UTF-8 and no control character. Backends can use
/// control characters to separate their own keys from those of users.
///
/// # Examples
///
/// ```
/// use lock_core::LockKey;
///
/// assert_eq!(LockKey::new("invoice/{42}")?.as_str(), "invoice/{42}");
/// assert!(LockKey::new("").unwrap_err().is_invalid());
/// assert!(LockKey::new("line\nbreak").unwrap_err().is_invalid());
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LockKey(Arc<str>);

impl LockKey {
    /// The longest key, in bytes.
    pub const MAX_LEN: usize = 1024;

    /// Parses a key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when `key` is empty, longer than [`LockKey::MAX_LEN`] bytes, or has a
    /// control character. The message says which.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::LockKey;
    ///
    /// let refused = LockKey::new("k".repeat(2000)).unwrap_err();
    /// assert_eq!(refused.to_string(), "the lock key has 2000 bytes; the limit is 1024");
    /// ```
    pub fn new(key: impl AsRef<str>) -> Result<Self> {
        let key = key.as_ref();
        let refuse = |why: String| Err(Error::new(ErrorKind::Invalid, why));
        if key.is_empty() {
            return refuse("the lock key is empty; give it at least one byte".into());
        }
        if key.len() > Self::MAX_LEN {
            return refuse(format!(
                "the lock key has {} bytes; the limit is {}",
                key.len(),
                Self::MAX_LEN
            ));
        }
        if let Some((at, c)) = key.char_indices().find(|(_, c)| c.is_control()) {
            return refuse(format!(
                "the lock key has the control character {c:?} at byte {at}; use printable ones"
            ));
        }
        Ok(Self(key.into()))
    }

    /// Returns the key as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the text, to share it without a copy.
    pub(crate) fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

impl fmt::Display for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockKey({:?})", &*self.0)
    }
}

/// Keys and their text hash alike, so a map of keys can be searched by text.
impl Borrow<str> for LockKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for LockKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl TryFrom<&str> for LockKey {
    type Error = Error;

    fn try_from(key: &str) -> Result<Self> {
        Self::new(key)
    }
}

impl TryFrom<String> for LockKey {
    type Error = Error;

    fn try_from(key: String) -> Result<Self> {
        Self::new(key)
    }
}

impl TryFrom<&String> for LockKey {
    type Error = Error;

    fn try_from(key: &String) -> Result<Self> {
        Self::new(key)
    }
}

impl From<&LockKey> for LockKey {
    fn from(key: &LockKey) -> Self {
        key.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn k1_bl30_keys_are_byte_exact_and_case_sensitive() {
        let key = |s: &str| LockKey::new(s).unwrap();
        assert_ne!(key("A"), key("a"));
        assert_ne!(key("\u{e9}"), key("e\u{301}"));
        assert_eq!(key(" a b ").as_str(), " a b ");
    }

    #[test]
    fn k1_every_refused_key_says_why() {
        let why = |s: &str| LockKey::new(s).unwrap_err().to_string();
        assert!(why("").contains("is empty"));
        assert!(why(&"k".repeat(1 << 20)).contains("1048576 bytes; the limit is 1024"));
        assert!(why("a\nb").contains(r"'\n' at byte 1"));
        assert!(why("a\0b").contains(r"'\0' at byte 1"));
        assert!(why(&"k".repeat(1 << 20)).len() < 200, "the key itself is not repeated");
        assert!(LockKey::new("k".repeat(LockKey::MAX_LEN)).is_ok());
        assert!(LockKey::new("k".repeat(LockKey::MAX_LEN + 1)).is_err());
    }
}
