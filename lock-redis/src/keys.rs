//! Where a lock and its siblings live.
//!
//! The lock itself is at `prefix + key`, byte for byte, so that every other library that locks with
//! a plain string on the same key is excluded, and `GET` shows an operator who holds it. The siblings
//! carry the separator U+001F, which a [`LockKey`] cannot contain, so no user key can hit them; and
//! they carry a hash tag that puts them into the lock's own cluster slot, whatever braces it has.

use std::sync::LazyLock;

use lock_core::{Error, ErrorKind, LockKey, OwnerToken, Result};

/// Stands in every sibling and in no user key.
const SEPARATOR: char = '\u{1f}';

const SLOTS: u16 = 16384;

/// A checked prefix for every key of one provider.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prefix(String);

impl Prefix {
    const MAX_LEN: usize = 256;

    pub(crate) fn new(prefix: &str) -> Result<Self> {
        let refuse = |why: String| Err(Error::new(ErrorKind::Misconfigured, why));
        if prefix.len() > Self::MAX_LEN {
            return refuse(format!(
                "the key prefix has {} bytes; the limit is {}",
                prefix.len(),
                Self::MAX_LEN
            ));
        }
        if let Some(c) = prefix.chars().find(|c| c.is_control()) {
            return refuse(format!(
                "the key prefix has the control character {c:?}; use printable ones"
            ));
        }
        Ok(Self(prefix.into()))
    }
}

/// The keys of one lock in Redis.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    /// Holds owner token and metadata while the lock is held.
    pub(crate) lock: String,
    /// Holds the last fencing token.
    pub(crate) fence: String,
    /// Exists for a while after the owner released without holding.
    pub(crate) tombstone: String,
}

impl Keys {
    pub(crate) fn new(prefix: &Prefix, key: &LockKey, owner: &OwnerToken) -> Self {
        let lock = format!("{}{key}", prefix.0);
        let stem = sibling_stem(&lock);
        let fence = format!("{stem}fence");
        let tombstone = format!("{stem}undone{SEPARATOR}{}", owner.expose());
        Self { lock, fence, tombstone }
    }
}

/// The start of all siblings of `lock`: in its slot, and different for different locks.
///
/// Redis hashes what stands between the first `{` and the next `}`, if that is not empty, and else
/// the whole key. The number of separators tells the three forms apart, so that the locks `a` and
/// `{a}` do not share siblings.
fn sibling_stem(lock: &str) -> String {
    if hash_tag(lock) != lock {
        format!("{lock}{SEPARATOR}")
    } else if !lock.contains('}') {
        format!("{{{lock}}}{SEPARATOR}{SEPARATOR}")
    } else {
        // The whole key is hashed, but a `}` keeps it from being a tag: a number that hashes to
        // the same slot stands in for it.
        let tag = SLOT_TAGS[usize::from(slot(lock))];
        format!("{{{tag}}}{lock}{SEPARATOR}{SEPARATOR}{SEPARATOR}")
    }
}

/// The part of a key that Redis Cluster hashes.
fn hash_tag(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// The cluster slot of a key: CRC-16/XMODEM of its hash tag, as the Redis Cluster specification
/// says.
fn slot(key: &str) -> u16 {
    let step = |crc: u16, byte: &u8| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    };
    hash_tag(key).as_bytes().iter().fold(0, step) % SLOTS
}

/// For every slot the smallest number whose decimal text hashes to it.
static SLOT_TAGS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut tags = vec![None; usize::from(SLOTS)];
    let mut missing = tags.len();
    for number in 0.. {
        let tag = &mut tags[usize::from(slot(&format!("{number}")))];
        if tag.is_none() {
            *tag = Some(number);
            missing -= 1;
            if missing == 0 {
                break;
            }
        }
    }
    tags.into_iter().flatten().collect()
});

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const AWKWARD: [&str; 16] = [
        "a",
        "{a}",
        "{{a}}",
        "}",
        "{",
        "{}",
        "{}a",
        "}a{",
        "a{b}c",
        "a}b",
        "{a",
        "a}",
        "x{}{y}",
        "{a}{b}",
        "{1}",
        "ключ {ü}",
    ];

    fn keys(prefix: &str, key: &str) -> Keys {
        let owner = OwnerToken::from_bits([3; 16]);
        Keys::new(&Prefix::new(prefix).unwrap(), &LockKey::new(key).unwrap(), &owner)
    }

    #[test]
    fn k1_siblings_stand_in_the_slot_of_their_lock_whatever_braces_it_has() {
        for prefix in ["", "app:", "{app}:", "}{"] {
            for key in AWKWARD {
                let Keys { lock, fence, tombstone } = keys(prefix, key);
                assert_eq!(slot(&fence), slot(&lock), "{lock:?} {fence:?}");
                assert_eq!(slot(&tombstone), slot(&lock), "{lock:?} {tombstone:?}");
            }
        }
    }

    #[test]
    fn k1_no_two_locks_share_a_key() {
        let mut seen = HashSet::new();
        for key in AWKWARD {
            let Keys { lock, fence, tombstone } = keys("", key);
            for one in [lock, fence, tombstone] {
                assert!(seen.insert(one.clone()), "{one:?} is used twice");
            }
        }
    }

    #[test]
    fn the_slot_is_that_of_the_cluster_specification() {
        assert_eq!(slot("123456789"), 0x31c3, "the reference value of the specification");
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
        assert_eq!(SLOT_TAGS.len(), usize::from(SLOTS));
    }

    #[test]
    fn the_lock_key_is_prefix_and_key_byte_for_byte() {
        assert_eq!(keys("redlock:", "Ünïcode {x}").lock, "redlock:Ünïcode {x}");
        assert!(Prefix::new("a\nb").unwrap_err().is_misconfigured());
        assert!(Prefix::new(&"p".repeat(257)).unwrap_err().to_string().contains("257 bytes"));
    }
}
