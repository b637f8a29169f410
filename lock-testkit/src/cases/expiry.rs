//! T1 expiry, T2 renew replaces.

use std::time::Duration;

use lock_core::{Attempt, Capability, Renewal, Ttl};

use super::{elapsed, grant, held, is_renewed, released};
use crate::{Subject, Verb};

/// A lease that was granted after `t` is not granted to another before `t + ttl`.
pub async fn t1_l11_a_lease_never_ends_early(subject: &Subject) {
    // One and a half: a store that counts in whole seconds (or units) is early or late by half.
    let ttl = subject.units(3) / 2;
    let key = subject.key("k");
    let lock = subject.lock(&key, ttl);
    let before = subject.clock().now();
    grant(&*lock).await;
    let free = subject.until_free(&key, subject.units(20)).await;
    // A store's clock may run fast by a hundredth.
    assert!(free.since(before) >= ttl - ttl / 100, "free after {:?}", free.since(before));
    if subject.is_virtual() {
        assert!(free.since(before) <= ttl + Duration::from_millis(10));
    }
}

/// A lease that is not renewed ends, and the key is granted to another.
pub async fn t1_an_expired_key_is_granted_to_others(subject: &Subject) {
    let key = subject.key("k");
    grant(&*subject.lock(&key, subject.units(1))).await;
    subject.until_free(&key, subject.units(20)).await;
}

/// A ttl below a millisecond is one millisecond, not zero and not for ever.
pub async fn t1_l10_a_submillisecond_ttl_is_rounded_up(subject: &Subject) {
    let key = subject.key("k");
    grant(&*subject.lock(&key, Duration::from_nanos(1))).await;
    subject.until_free(&key, subject.units(20)).await;
}

/// The longest ttl that core allows is kept, as is a renewal to it.
pub async fn t1_the_longest_ttl_is_kept(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, Ttl::MAX.get());
    grant(&*lock).await;
    assert!(matches!(lock.renew(Ttl::MAX).await.unwrap(), Renewal::Renewed { .. }));
    let remaining = held(&*subject.lock(&key, subject.long())).await;
    let least = Ttl::MAX.get() - Duration::from_secs(3600);
    assert!(remaining.is_none_or(|left| left > least && left <= Ttl::MAX.get()), "{remaining:?}");
    released(&*lock).await;
}

/// Zero and endless ttls are refused by core, with the same error for every backend.
pub async fn t1_l10_ttls_out_of_range_are_refused_before_any_request(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    for ttl in [Duration::ZERO, Duration::MAX, Duration::from_millis(u64::MAX)] {
        let error = client.lock(subject.key("k")).ttl(ttl).try_acquire().await.unwrap_err();
        assert!(error.is_invalid(), "{error:?}");
        assert!(error.to_string().contains("the ttl is "), "{error}");
    }
    assert_eq!(faults.count(Verb::TryAcquire), 0);
}

/// Renewing a live lease says so.
pub async fn t2_l7_renewing_a_live_lease_succeeds(subject: &Subject) {
    let lock = subject.lock(&subject.key("k"), subject.long());
    grant(&*lock).await;
    assert!(is_renewed(&*lock).await);
    assert!(is_renewed(&*lock).await);
}

/// Renewing sets the remaining time to the new ttl, whether that is more or less than was left.
pub async fn t2_l6_renewing_sets_the_remaining_time_longer_or_shorter(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.units(1));
    grant(&*lock).await;
    let longer = Ttl::new(subject.units(40)).unwrap();
    assert!(matches!(lock.renew(longer).await.unwrap(), Renewal::Renewed { .. }));
    subject.pass(subject.units(2)).await;
    held(&*subject.lock(&key, subject.long())).await;
    let shorter = Ttl::new(subject.units(2)).unwrap();
    let before = subject.clock().now();
    assert!(matches!(lock.renew(shorter).await.unwrap(), Renewal::Renewed { .. }));
    let free = subject.until_free(&key, subject.units(20)).await.since(before);
    let least = subject.units(2) - subject.units(2) / 100;
    assert!(free >= least, "free after {free:?}, renewed for {shorter}");
}

/// Twenty renewals in a row leave one ttl, not twenty.
pub async fn t2_l8_renewing_often_never_adds_up(subject: &Subject) {
    let (key, ttl) = (subject.key("k"), subject.units(2));
    let lock = subject.lock(&key, ttl);
    grant(&*lock).await;
    for _ in 0..20 {
        // On a machine that stands still for longer than the ttl, the lease may have ended.
        if !is_renewed(&*lock).await {
            return;
        }
    }
    let renewed = subject.clock().now();
    let answer = subject.lock(&key, subject.long()).try_acquire().await.unwrap();
    if let Attempt::Held { remaining: Some(left) } = answer {
        assert!(left <= ttl, "{left:?} are left of {ttl:?}");
    }
    subject.until_free(&key, subject.units(20)).await;
    assert!(elapsed(subject.clock(), renewed) < ttl * 10, "the renewals were added up");
}

/// A lease that has expired or was released stays ended, whoever renews it.
pub async fn t2_l9_renewing_never_brings_back_an_ended_lease(subject: &Subject) {
    let key = subject.key("k");
    let expired = subject.lock(&key, subject.units(1));
    grant(&*expired).await;
    subject.expire(&key, subject.units(1)).await;
    assert!(!is_renewed(&*expired).await);
    let free = subject.lock(&key, subject.long());
    grant(&*free).await;
    released(&*free).await;
    assert!(!is_renewed(&*free).await);
    if subject.has(Capability::Inspect) {
        assert_eq!(free.inspect().await.unwrap(), None);
    }
    grant(&*subject.lock(&key, subject.long())).await;
}
