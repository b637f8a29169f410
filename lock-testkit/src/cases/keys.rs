//! K1 keys.

use lock_core::LockKey;

use super::{grant, held, released};
use crate::{Subject, Verb};

const AWKWARD: [&str; 26] = [
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
    "\u{e9}",
    "e\u{301}",
    "\u{1f512}",
    "\"'`;--",
    "%61",
    "..",
];

/// Keys that differ by a byte are different locks, whatever the store makes of their characters.
pub async fn k1_l30_awkward_keys_are_all_different(subject: &Subject) {
    let mut locks = Vec::new();
    for name in AWKWARD {
        let lock = subject.lock(&subject.key(name), subject.long());
        grant(&*lock).await;
        locks.push(lock);
    }
    for name in AWKWARD {
        held(&*subject.lock(&subject.key(name), subject.long())).await;
    }
    for lock in locks {
        released(&*lock).await;
    }
}

/// A key of the greatest length works, and differs from one that is a byte shorter.
pub async fn k1_the_longest_key_works(subject: &Subject) {
    let salt = subject.key("").as_str().len();
    let longest = subject.key(&"k".repeat(LockKey::MAX_LEN - salt));
    let shorter = subject.key(&"k".repeat(LockKey::MAX_LEN - salt - 1));
    let lock = subject.lock(&longest, subject.long());
    grant(&*lock).await;
    grant(&*subject.lock(&shorter, subject.long())).await;
    held(&*subject.lock(&longest, subject.long())).await;
    released(&*lock).await;
}

/// Empty, over-long and control-character keys are refused by core, the same for every backend.
pub async fn k1_l30_bad_keys_are_refused_before_any_request(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let too_long = "k".repeat(LockKey::MAX_LEN + 1);
    for bad in ["", "a\nb", "a\0", "\u{7f}", &too_long] {
        let error = client.lock(bad).try_acquire().await.unwrap_err();
        assert!(error.is_invalid(), "{error:?}");
        assert!(error.to_string().contains("the lock key "), "{error}");
    }
    assert_eq!(faults.count(Verb::TryAcquire), 0);
}

/// Two providers on one store with different prefixes share no lock, no token, no tombstone.
///
/// Runs where the subject has a neighbour.
pub async fn k1_l31_two_prefixes_never_meet(subject: &Subject) {
    let Some(neighbour) = subject.the_neighbour() else { return };
    let key = subject.key("k");
    let here = subject.lock(&key, subject.long());
    let there = neighbour.lock(here.claim().clone());
    grant(&*here).await;
    assert_eq!(there.release().await.unwrap(), lock_core::Release::NotHeld);
    let other = neighbour.lock(subject.claim(&key, subject.long()));
    let first = grant(&*other).await;
    held(&*neighbour.lock(subject.claim(&key, subject.long()))).await;
    assert_eq!(grant(&*other).await, first);
    released(&*other).await;
    held(&*subject.lock(&key, subject.long())).await;
    released(&*here).await;
    grant(&*neighbour.lock(subject.claim(&key, subject.long()))).await;
    grant(&*subject.lock(&key, subject.long())).await;
}
