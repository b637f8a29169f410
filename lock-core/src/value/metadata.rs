//! The note that an owner stores beside a lock.

use std::fmt;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// A note that an owner stores beside the lock.
///
/// **Never write a secret into it.** Every process that may inspect the key can read it. Write what
/// holds the lock, such as `"billing@host-3"`.
///
/// **Do not trust a note that you read.** Another process wrote it. It is shown with unprintable
/// characters escaped.
///
/// # Examples
///
/// ```
/// use lock_core::Metadata;
///
/// let note = Metadata::new("worker-7")?;
/// assert_eq!(note.as_bytes(), b"worker-7");
/// assert!(!note.is_empty() && Metadata::default().is_empty());
/// assert!(Metadata::new(vec![0; 100_000]).unwrap_err().is_invalid());
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Metadata(Option<Arc<[u8]>>);

impl Metadata {
    /// The longest note, in bytes.
    pub const MAX_LEN: usize = 4096;

    /// Makes a note from bytes or text.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when it is longer than [`Metadata::MAX_LEN`].
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Metadata;
    ///
    /// assert_eq!(Metadata::new("billing@host-3")?.as_bytes(), b"billing@host-3");
    /// assert!(Metadata::new([0; Metadata::MAX_LEN + 1]).unwrap_err().is_invalid());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn new(note: impl AsRef<[u8]>) -> Result<Self> {
        let note = note.as_ref();
        if note.len() > Self::MAX_LEN {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("the metadata has {} bytes; the limit is {}", note.len(), Self::MAX_LEN),
            ));
        }
        Ok(Self((!note.is_empty()).then(|| note.into())))
    }

    /// Makes a note from what a store holds, cut at [`Metadata::MAX_LEN`].
    ///
    /// A value of another library may be longer.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::Metadata;
    ///
    /// let note = Metadata::from_stored(b"another library\x1b[31m");
    /// assert_eq!(note.to_string(), r"another library\u{1b}[31m"); // escaped when shown
    /// ```
    pub fn from_stored(stored: &[u8]) -> Self {
        let kept = &stored[..stored.len().min(Self::MAX_LEN)];
        Self((!kept.is_empty()).then(|| kept.into()))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_deref().unwrap_or_default()
    }

    /// Returns whether there is no note.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for Metadata {
    /// Shows the note with everything unprintable escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.as_bytes().utf8_chunks() {
            write!(f, "{}", chunk.valid().escape_debug())?;
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Metadata(\"{self}\")")
    }
}

impl TryFrom<&str> for Metadata {
    type Error = Error;

    fn try_from(note: &str) -> Result<Self> {
        Self::new(note)
    }
}

impl TryFrom<String> for Metadata {
    type Error = Error;

    fn try_from(note: String) -> Result<Self> {
        Self::new(note)
    }
}

impl TryFrom<&[u8]> for Metadata {
    type Error = Error;

    fn try_from(note: &[u8]) -> Result<Self> {
        Self::new(note)
    }
}

impl TryFrom<Vec<u8>> for Metadata {
    type Error = Error;

    fn try_from(note: Vec<u8>) -> Result<Self> {
        Self::new(note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_notes_are_escaped_when_shown() {
        let note = Metadata::from_stored(b"a\x1b[31m\n\xff");
        assert_eq!(note.to_string(), r"a\u{1b}[31m\n\xff");
        assert_eq!(Metadata::from_stored(&[b'x'; 9000]).as_bytes().len(), Metadata::MAX_LEN);
    }
}
