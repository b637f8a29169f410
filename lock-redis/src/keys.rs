//! The names of keys and channels in Redis.
//!
//! The lock is at `prefix + key`, byte for byte. So every other library that locks the same key
//! with a plain string is excluded, and `GET` shows an operator the holder.
//!
//! A lock has siblings: keys that begin with the lock's key, the separator U+001F and a name of
//! their own. A [`LockKey`] cannot contain the separator, so no user key can be a sibling. Every
//! key of a provider begins with its prefix, so one ACL pattern covers them. In a cluster, a
//! sibling is in the slot of its lock, whatever braces the key has.

use lock_core::{Error, ErrorKind, LockKey, OwnerToken, Result};

/// Separates a sibling's name from the lock's key. No user key contains it.
const SEPARATOR: &str = "\u{1f}";

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

    /// Names the key of the node mark, which shows that a node of a quorum remembers its locks.
    pub(crate) fn mark(&self) -> String {
        format!("{}{SEPARATOR}settled", self.0)
    }

    /// Names the pub/sub channel of one provider. The ACL pattern of the keys covers it.
    pub(crate) fn channel(&self, name: &str) -> String {
        format!("{}{SEPARATOR}signals{SEPARATOR}{name}", self.0)
    }
}

/// The keys of one lock in Redis, in one string. They are made for each request, so that a held
/// lock takes less memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Keys {
    text: String,
    /// The ends of the first three keys.
    ends: [usize; 3],
}

impl Keys {
    pub(crate) fn new(prefix: &Prefix, key: &LockKey, owner: &OwnerToken) -> Self {
        let (prefix, key) = (prefix.0.as_str(), key.as_str());
        let length = prefix.len() + key.len();
        let mut text = String::with_capacity(7 * length + OwnerToken::LEN + 32);
        text.push_str(prefix);
        text.push_str(key);
        let ends = [["fence", ""], ["undone\u{1f}", owner.expose()], ["queue", ""]].map(|name| {
            let end = text.len();
            add_sibling(&mut text, length, name);
            end
        });
        Self { text, ends }
    }

    /// Makes the keys if that takes so long that it should be done only once; see [`add_sibling`].
    pub(crate) fn that_take_long(
        prefix: &Prefix,
        key: &LockKey,
        owner: &OwnerToken,
    ) -> Option<Self> {
        let braces = has_braces(&prefix.0) || has_braces(key.as_str());
        let keys = braces.then(|| Self::new(prefix, key, owner))?;
        (hash_tag(keys.lock()) == keys.lock()).then_some(keys)
    }

    /// The key with the owner token and the metadata, while the lock is held.
    pub(crate) fn lock(&self) -> &str {
        &self.text[..self.ends[0]]
    }

    /// The key with the last fencing token.
    pub(crate) fn fence(&self) -> &str {
        &self.text[self.ends[0]..self.ends[1]]
    }

    /// The key that exists for a while after the owner released without holding.
    pub(crate) fn tombstone(&self) -> &str {
        &self.text[self.ends[1]..self.ends[2]]
    }

    /// The key with the waiters, in the order of arrival.
    pub(crate) fn queue(&self) -> &str {
        &self.text[self.ends[2]..]
    }

    /// Returns the keys of the scripts that grant, in their order.
    pub(crate) fn of_a_grant(&self) -> [&str; 4] {
        [self.lock(), self.fence(), self.tombstone(), self.queue()]
    }

    /// Names the sharded pub/sub channel for those waiters of one provider that wait for this lock.
    #[cfg(feature = "cluster")]
    pub(crate) fn channel(&self, name: &str) -> String {
        self.sibling(["signals\u{1f}", name])
    }

    /// Names the tombstone of another owner of the same lock.
    pub(crate) fn tombstone_of(&self, owner: &OwnerToken) -> String {
        self.sibling(["undone\u{1f}", owner.expose()])
    }

    fn sibling(&self, name: [&str; 2]) -> String {
        let mut text = self.lock().to_owned();
        add_sibling(&mut text, self.ends[0], name);
        text.split_off(self.ends[0])
    }
}

/// Appends a sibling of the lock that the text begins with. The sibling is in the same slot.
///
/// Redis Cluster hashes the part between the first `{` and the next `}`, if that is not empty.
/// Otherwise it hashes the whole key.
fn add_sibling(text: &mut String, lock: usize, name: [&str; 2]) {
    let start = text.len();
    text.extend_from_within(..lock);
    text.push_str(SEPARATOR);
    text.extend(name);
    let (lock, plain) = (&text[..lock], &text[start..]);
    if !has_braces(lock) {
        let end = lock.len();
        text.push('{');
        text.extend_from_within(..end);
        text.push('}');
    } else if hash_tag(lock) == lock {
        // The key has braces but no tag, so the sibling cannot have a tag either, and its whole
        // text is hashed. A number is appended that makes the slots equal. Finding it takes some
        // milliseconds.
        let (wanted, stem) = (slot(lock), crc16(crc16(0, plain), SEPARATOR));
        let fitting = (0..u32::MAX).find(|n| crc16(stem, &n.to_string()) % SLOTS == wanted);
        text.push_str(SEPARATOR);
        text.push_str(&fitting.unwrap_or_default().to_string());
    } // otherwise the lock's hash tag is in the sibling as well
}

fn has_braces(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b'{' | b'}'))
}

/// Returns the part of a key that Redis Cluster hashes.
fn hash_tag(key: &str) -> &str {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    tag.filter(|tag| !tag.is_empty()).unwrap_or(key)
}

/// Returns the cluster slot of a key, by the Redis Cluster specification.
pub(crate) fn slot(key: &str) -> u16 {
    crc16(0, hash_tag(key)) % SLOTS
}

/// Computes CRC-16/XMODEM, and goes on from the result for an earlier part of the text.
fn crc16(start: u16, text: &str) -> u16 {
    text.bytes().fold(start, |crc, byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
        })
    })
}

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
    fn k1_all_keys_of_a_lock_are_in_its_slot_whatever_braces_it_has() {
        for prefix in ["", "app:", "{app}:", "}{"] {
            for key in AWKWARD {
                let keys = keys(prefix, key);
                let [lock, fence, tombstone, queue] = keys.of_a_grant();
                assert_eq!(slot(fence), slot(lock), "{lock:?} {fence:?}");
                assert_eq!(slot(tombstone), slot(lock), "{lock:?} {tombstone:?}");
                assert_eq!(slot(queue), slot(lock), "{lock:?} {queue:?}");
            }
        }
    }

    #[test]
    fn k1_no_two_locks_share_a_key() {
        let mut seen = HashSet::new();
        for key in AWKWARD {
            for one in keys("", key).of_a_grant() {
                assert!(seen.insert(one.to_owned()), "{one:?} is used twice");
            }
        }
    }

    #[test]
    fn k1_every_key_of_a_provider_begins_with_its_prefix_and_key() {
        for key in AWKWARD {
            let keys = keys("app:", key);
            let [lock, fence, tombstone, queue] = keys.of_a_grant();
            assert_eq!(lock, format!("app:{key}"));
            assert!(fence.starts_with(&format!("{lock}\u{1f}fence")), "{fence:?}");
            assert!(queue.starts_with(&format!("{lock}\u{1f}queue")), "{queue:?}");
            assert!(tombstone.starts_with(&format!("{lock}\u{1f}undone")), "{tombstone:?}");
        }
    }

    #[test]
    fn the_slot_is_that_of_the_cluster_specification() {
        assert_eq!(slot("123456789"), 0x31c3, "the reference value of the specification");
        assert_eq!(slot("{user1000}.following"), slot("{user1000}.followers"));
    }

    #[test]
    fn the_lock_key_is_prefix_and_key_byte_for_byte() {
        assert_eq!(keys("redlock:", "Ünïcode {x}").lock(), "redlock:Ünïcode {x}");
        assert!(Prefix::new("a\nb").unwrap_err().is_misconfigured());
        assert!(Prefix::new(&"p".repeat(257)).unwrap_err().to_string().contains("257 bytes"));
    }
}
