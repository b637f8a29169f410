//! F1 fencing.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_core::Capability;
use lock_core::backend::{Attempt, Renewal};

use super::{grant, held, released};
use crate::Subject;

/// Over hundreds of grants that end by release, by expiry or by force, with undos and idle months
/// in between, every token is larger than the one before.
pub async fn f1_bf1_tokens_grow_over_grants_releases_and_expiries(subject: &Subject) {
    if !subject.has(Capability::Fencing) {
        return;
    }
    let key = subject.key("k");
    let rounds = if subject.is_virtual() || subject.can_expire() { 500 } else { 20 };
    let mut last = None;
    for round in 0..rounds {
        let lock = subject.lock(&key, subject.units(1) / 10);
        let token = grant(&*lock).await;
        assert!(token.is_some() && token > last, "round {round}: {token:?} after {last:?}");
        last = token;
        if round % 4 == 3 {
            subject.expire(&key, subject.units(1) / 10).await;
        } else {
            // On a machine that stands still, the lease may have ended by itself.
            let _ = lock.release().await.unwrap();
        }
        if round % 4 >= 2 {
            let _ = lock.release().await.unwrap();
            let _ = subject.lock(&key, subject.long()).release().await.unwrap();
        }
    }
    // An owner whose lease has run out begins anew, and so does a key that was idle for long.
    let late = subject.lock(&key, subject.units(1) / 10);
    for _ in 0..3 {
        let token = grant(&*late).await;
        assert!(token > last, "{token:?} after {last:?}");
        last = token;
        let idle = Duration::from_secs(if subject.is_virtual() { 30 * 24 * 60 * 60 } else { 0 });
        subject.pass(subject.units(1).max(idle)).await;
    }
}

/// Of owners that race and release at once, the later holder has the larger token, even if its
/// request was slow.
pub async fn f1_tokens_of_racing_owners_grow_in_the_order_of_their_holds(subject: &Subject) {
    if !subject.has(Capability::Fencing) {
        return;
    }
    let (key, tokens) = (subject.key("k"), Arc::new(Mutex::new(Vec::new())));
    let racers: Vec<_> = (0..16)
        .map(|_| {
            let locks: Vec<_> = (0..20).map(|_| subject.lock(&key, subject.long())).collect();
            let tokens = Arc::clone(&tokens);
            tokio::spawn(async move {
                for lock in locks {
                    if let Attempt::Granted(grant) = lock.try_acquire().await.unwrap() {
                        tokens.lock().unwrap().push(grant.fencing);
                        released(&*lock).await;
                    }
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for racer in racers {
        racer.await.unwrap();
    }
    let tokens = tokens.lock().unwrap();
    assert!(!tokens.is_empty() && tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
}

/// Renewing and asking again are no new grants, whatever is granted on other keys meanwhile.
pub async fn f1_bf2_renewing_and_repeating_keep_the_token(subject: &Subject) {
    let lock = subject.lock(&subject.key("k"), subject.long());
    let first = grant(&*lock).await;
    for round in 0..5 {
        let other = subject.lock(&subject.key(&format!("other {round}")), subject.long());
        grant(&*other).await;
        let renewal = lock.renew(lock.claim().ttl()).await.unwrap();
        assert_eq!(renewal, Renewal::renewed(first));
        assert_eq!(lock.try_acquire().await.unwrap(), Attempt::granted(first));
        released(&*other).await;
    }
}

/// Attempts of others do not change the token that the holder has.
pub async fn f1_a_failed_attempt_mints_nothing_for_the_holder(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    let first = grant(&*lock).await;
    for _ in 0..5 {
        held(&*subject.lock(&key, subject.long())).await;
    }
    assert_eq!(grant(&*lock).await, first);
    released(&*lock).await;
}

/// A provider that does not declare fencing yields no token, never a made-up one.
pub async fn f1_bf4_without_fencing_there_is_no_token(subject: &Subject) {
    let lock = subject.lock(&subject.key("k"), subject.long());
    let token = grant(&*lock).await;
    assert_eq!(token.is_some(), subject.has(Capability::Fencing));
}
