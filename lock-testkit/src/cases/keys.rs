//! K1 keys.

use lock_core::backend::Release;
use lock_core::{Capability, LockKey};
use lock_memory::Verb;

use super::{grant, held, is_renewed, released};
use crate::Subject;
use crate::handle::Handle;

const AWKWARD: &[&str] = &[
    "a",
    "A",
    "a ",
    " a",
    "a:b",
    "a::b",
    "a/b",
    "a//b",
    "{a}",
    "{{a}}",
    "{}",
    "}",
    "{",
    "}a{",
    "a{b}c",
    "a{c}b",
    "*",
    "a*",
    "?",
    "[a]",
    "e",
    "\u{e9}",
    "e\u{301}",
    "ss",
    "\u{df}",
    "\u{ff41}",
    "a\u{200b}",
    "\u{1f512}",
    "\u{1f513}",
    "\"'`;--",
    "%61",
    "%",
    "a%",
    "_",
    "a_",
    ".",
    "..",
    "../",
    "./a",
    // What a store may call the rows of its own bookkeeping.
    "a:lock",
    "a:fence",
    "a:token",
    "a:owner",
];

/// Keys that differ by a byte are different locks, whatever the store makes of their characters, at
/// the end of a key and at its beginning. Releasing one leaves the others alone.
pub async fn k1_bl30_awkward_keys_are_all_different(subject: &Subject) {
    let (behind, salt) = (|name: &&str| subject.key(name), subject.key(""));
    let in_front = |name: &&str| LockKey::new(format!("{name}{salt}")).unwrap();
    let keys: Vec<_> = AWKWARD.iter().map(behind).chain(AWKWARD.iter().map(in_front)).collect();
    for backwards in [false, true] {
        let mut locks = Vec::new();
        for key in &keys {
            let lock = subject.lock(key, subject.long());
            grant(&*lock).await;
            locks.push(lock);
        }
        for key in &keys {
            held(&*subject.lock(key, subject.long())).await;
        }
        if backwards {
            locks.reverse();
        }
        for lock in locks {
            released(&*lock).await;
        }
    }
}

/// A key of the greatest length works, and differs from one that is a byte shorter.
pub async fn k1_the_longest_key_works(subject: &Subject) {
    let salt = subject.key("").as_str().len();
    let most = subject.provider().info().max_key_len();
    let longest = subject.key(&"k".repeat(most - salt));
    let shorter = subject.key(&"k".repeat(most - salt - 1));
    let lock = subject.lock(&longest, subject.long());
    grant(&*lock).await;
    grant(&*subject.lock(&shorter, subject.long())).await;
    held(&*subject.lock(&longest, subject.long())).await;
    released(&*lock).await;
}

/// Empty, over-long and control-character keys are refused by core, the same for every backend.
pub async fn k1_bl30_bad_keys_are_refused_before_any_request(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let too_long = "k".repeat(LockKey::MAX_LEN + 1);
    for bad in ["", "a\nb", "a\0", "\u{7f}", &too_long] {
        let error = client.lock(bad).try_acquire().await.unwrap_err();
        assert!(error.is_invalid(), "{error:?}");
        assert!(error.to_string().contains("the lock key "), "{error}");
    }
    let most = client.info().max_key_len();
    if most < LockKey::MAX_LEN {
        let error = client.lock("k".repeat(most + 1)).try_acquire().await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains("the lock key "), "{error}");
    }
    assert_eq!(faults.count(Verb::TryAcquire), 0);
}

/// Two providers on one store with different prefixes share no lock, no token, no tombstone.
///
/// Runs where the subject has a neighbour.
pub async fn k1_bl31_two_prefixes_share_nothing(subject: &Subject) {
    let Some(neighbour) = subject.the_neighbour() else { return };
    let key = subject.key("k");
    let here = subject.lock(&key, subject.long());
    let there = Handle::new(neighbour, here.claim().clone());
    let token = grant(&*here).await;
    assert!(!is_renewed(&there).await);
    assert_eq!(there.release().await.unwrap(), Release::NotHeld);
    if subject.has(Capability::Inspect) {
        assert_eq!(there.inspect().await.unwrap(), None);
    }
    assert_eq!(grant(&*here).await, token, "what was undone there is not undone here");
    let other = neighbour.lock(subject.claim(&key, subject.long()));
    let first = grant(&*other).await;
    held(&*neighbour.lock(subject.claim(&key, subject.long()))).await;
    assert_eq!(grant(&*other).await, first);
    assert_eq!(grant(&*here).await, token, "what was granted there changes no token here");
    released(&*other).await;
    held(&*subject.lock(&key, subject.long())).await;
    released(&*here).await;
    grant(&*neighbour.lock(subject.claim(&key, subject.long()))).await;
    grant(&*subject.lock(&key, subject.long())).await;
}
