//! Owner tokens, and their fingerprints.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, ErrorKind, Result};

/// Identifies one acquisition by 128 random bits, written as 22 characters of base64url.
///
/// **Keep it secret.** A process that knows the token can renew and release the lock. `Debug` and
/// `Display` show only its [`OwnerFingerprint`]. [`OwnerToken::expose`] returns the text.
///
/// Every acquisition mints a token of its own (law E4), so a stale guard never touches a later
/// holder.
///
/// # Examples
///
/// ```
/// use lock_core::OwnerToken;
///
/// let token = OwnerToken::mint()?;
/// let carried = token.expose().to_owned();           // to another process, say
/// assert_eq!(carried.parse::<OwnerToken>()?, token);
/// assert!(!format!("{token:?} {token}").contains(&carried));
/// # Ok::<(), lock_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerToken {
    text: [u8; OwnerToken::LEN],
}

impl OwnerToken {
    /// The length of the text form, in bytes.
    pub const LEN: usize = 22;

    /// Mints a token from the operating system's random source.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] when the system returns no random bits. There is no weaker
    /// fallback.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::OwnerToken;
    ///
    /// assert_ne!(OwnerToken::mint()?, OwnerToken::mint()?);
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn mint() -> Result<Self> {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|source| {
            Error::new(ErrorKind::Unavailable, "the operating system gave no random bits")
                .with_source(source)
        })?;
        Ok(Self::from_bits(bits))
    }

    /// Makes a token from 128 bits, for a test that needs to know its tokens beforehand.
    ///
    /// **Never use the same bits for a second acquisition.** Both are the same owner then, and both
    /// hold the lock (law E4).
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::OwnerToken;
    ///
    /// assert_eq!(OwnerToken::from_bits([1; 16]).expose(), "AQEBAQEBAQEBAQEBAQEBAQ");
    /// ```
    pub fn from_bits(bits: [u8; 16]) -> Self {
        let mut text = [0; Self::LEN];
        // 16 bytes are always 22 characters without padding, so the slice always fits.
        let written = URL_SAFE_NO_PAD.encode_slice(bits, &mut text);
        debug_assert_eq!(written.ok(), Some(Self::LEN));
        Self { text }
    }

    /// Derives a token from a text of your own, such as the number of a job.
    ///
    /// It is the first half of the text's SHA-256 hash, so every process derives the same token.
    ///
    /// **Use each text for one acquisition only.** The library cannot keep law E4 for you:
    ///
    /// | the text is used | effect |
    /// |---|---|
    /// | by two acquisitions at once | both are the same owner, so both hold the lock |
    /// | again after a release | the store may refuse the owner for a minute or longer (law U1), as [`ErrorKind::Invalid`] |
    /// | by another process that guesses it | that process can renew and release the lock |
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::MemoryProvider;
    /// use lock_core::OwnerToken;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let locks = LockClient::new(MemoryProvider::new());
    ///
    /// let token = OwnerToken::from_text("job 42, attempt 3");
    /// let guard = locks.lock("job/42").owner_token(token).acquire().await?;
    ///
    /// // A process that knows the text finds out who holds the lock:
    /// let occupancy = locks.inspect("job/42").await?;
    /// assert_eq!(occupancy.holder().unwrap().owner(), token.fingerprint());
    /// # drop(guard);
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_text(text: &str) -> Self {
        let mut bits = [0; 16];
        bits.copy_from_slice(&Sha256::digest(text)[..16]);
        Self::from_bits(bits)
    }

    /// Returns the whole secret text.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::OwnerToken;
    ///
    /// let token = OwnerToken::mint()?;
    /// let text = token.expose(); // keep it where it stays secret
    /// assert_eq!(text.parse::<OwnerToken>()?, token);
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn expose(&self) -> &str {
        // The text came from base64, so it is ASCII.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }

    /// Returns a short hash that may be logged.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::OwnerToken;
    ///
    /// let token = OwnerToken::mint()?;
    /// println!("acquiring as {}", token.fingerprint());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn fingerprint(&self) -> OwnerFingerprint {
        OwnerFingerprint::from_bytes(&self.text)
    }
}

impl FromStr for OwnerToken {
    type Err = Error;

    /// Parses the text that [`OwnerToken::expose`] returned.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] when `text` is not 22 characters of canonical base64url. The message
    /// does not repeat the text.
    fn from_str(text: &str) -> Result<Self> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .and_then(|bits| <[u8; 16]>::try_from(bits).ok())
            .map(Self::from_bits)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Invalid,
                    "the text is not an owner token; a token has 22 characters of base64url",
                )
            })
    }
}

impl fmt::Debug for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OwnerToken({})", self.fingerprint())
    }
}

impl fmt::Display for OwnerToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fingerprint().fmt(f)
    }
}

/// A short hash of an owner's identity, which may be logged.
///
/// It distinguishes owners, and cannot renew or release a lock. It is the 64-bit FNV-1a hash of
/// what the store holds, so it is the same in every process.
///
/// # Examples
///
/// ```
/// use lock_core::{OwnerFingerprint, OwnerToken};
///
/// let owner = OwnerToken::from_bits([1; 16]).fingerprint();
/// assert_eq!(owner.to_string(), format!("#{:016x}", owner.as_u64()));
/// assert_eq!(OwnerFingerprint::from_u64(owner.as_u64()), owner); // read back from a row
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OwnerFingerprint(u64);

impl OwnerFingerprint {
    /// Hashes an owner's identity: the text of an [`OwnerToken`], or the value of another library.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{OwnerFingerprint, OwnerToken};
    ///
    /// let token = OwnerToken::mint()?;
    /// let stored = token.expose().as_bytes(); // what the store holds
    /// assert_eq!(OwnerFingerprint::from_bytes(stored), token.fingerprint());
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub fn from_bytes(identity: &[u8]) -> Self {
        let fnv1a = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
        Self(identity.iter().fold(0xcbf2_9ce4_8422_2325, fnv1a))
    }

    /// Makes a fingerprint of the number that [`as_u64`](OwnerFingerprint::as_u64) returned.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{OwnerFingerprint, OwnerToken};
    ///
    /// let owner = OwnerToken::mint()?.fingerprint();
    /// assert_eq!(OwnerFingerprint::from_u64(owner.as_u64()), owner);
    /// # Ok::<(), lock_core::Error>(())
    /// ```
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Returns the hash as a number, to store or to send along with a write.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for OwnerFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:016x}", self.0)
    }
}

impl fmt::Debug for OwnerFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn e4_minted_tokens_are_22_characters_and_unique() {
        let minted: HashSet<_> = (0..10_000).map(|_| OwnerToken::mint().unwrap()).collect();
        assert_eq!(minted.len(), 10_000);
        assert!(minted.iter().all(|t| t.expose().len() == 22));
        assert!(minted.iter().all(|t| OwnerToken::from_str(t.expose()).unwrap() == *t));
    }

    #[test]
    fn e4_a_token_of_a_text_is_half_of_its_sha_256_hash() {
        let token = OwnerToken::from_text("job 42, worker 3");
        assert_eq!(token.expose(), "UO7jTvwO6Pr3uH2kNS7fkg"); // by `sha256sum`
        let longest = "a".repeat(100_000);
        let texts = ["", "a", "b", "aa", longest.as_str()];
        let tokens: HashSet<_> = texts.into_iter().map(OwnerToken::from_text).collect();
        assert_eq!(tokens.len(), texts.len());
    }

    #[test]
    fn no_output_of_a_token_shows_any_piece_of_it() {
        let token = OwnerToken::from_bits([7; 16]);
        let shown = format!("{token} {token:?} {:?}", token.fingerprint());
        assert!(
            token
                .expose()
                .as_bytes()
                .windows(6)
                .all(|piece| { !shown.contains(std::str::from_utf8(piece).unwrap()) })
        );
    }

    #[test]
    fn bl4_texts_that_are_not_exactly_one_token_are_refused_without_showing_them() {
        let good = OwnerToken::from_bits([1; 16]);
        let longer = format!("{}A", good.expose());
        let not_canonical = format!("{}B", &good.expose()[..21]);
        for bad in ["", "foo", "foobar", &longer, &not_canonical, "AQEBAQEBAQEBAQEBAQEB+Q"] {
            let error = OwnerToken::from_str(bad).unwrap_err();
            assert!(error.is_invalid());
            assert!(bad.is_empty() || !error.to_string().contains(bad));
        }
    }
}
