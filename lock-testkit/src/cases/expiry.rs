//! T1 expiry, T2 renew replaces.

use std::time::Duration;

use lock_core::Capability;
use lock_core::backend::{Attempt, Busy, Renewal, Ttl};
use lock_memory::Verb;

use super::{elapsed, grant, held, is_renewed, polled, released, succeed};
use crate::Subject;

/// A lease that was granted after `t` is not granted to another before `t + ttl`.
pub async fn t1_bl11_a_lease_never_ends_early(subject: &Subject) {
    // Neither whole units nor whole seconds: a store that counts in those is early or late.
    let ttl = subject.units(3) / 2 + Duration::from_millis(400);
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

/// A request that its caller drops on the way may have taken effect, but not for ever: its lease
/// has an end from the first moment on.
pub async fn t1_bl1_a_dropped_request_leaves_no_lock_without_expiry(subject: &Subject) {
    let keys: Vec<_> = (1..8).map(|polls| subject.key(&format!("k{polls}"))).collect();
    for (polls, key) in (1..).zip(&keys) {
        polled(polls, subject.lock(key, subject.units(1)).try_acquire()).await;
    }
    for key in keys {
        subject.until_free(&key, subject.units(20)).await;
    }
}

/// A refused attempt and an inspection report the time that the lease has left, if the store
/// reports it.
pub async fn t1_the_remaining_time_that_is_reported_is_what_is_left(subject: &Subject) {
    let (key, ttl, clock) = (subject.key("k"), subject.units(20), subject.clock());
    let holder = subject.lock(&key, ttl);
    let sent = clock.now();
    grant(&*holder).await;
    let granted = clock.now();
    subject.pass(subject.units(4)).await;
    let asked = clock.now();
    let mut told = vec![held(&*subject.lock(&key, subject.long())).await];
    if subject.has(Capability::Inspect) {
        told.push(holder.inspect().await.unwrap().expect("a holder").remaining());
    }
    // The lease began between `sent` and `granted`; some stores report whole seconds.
    let slack = ttl / 50 + Duration::from_secs(1);
    let least = ttl.saturating_sub(elapsed(clock, sent) + slack);
    let most = ttl.saturating_sub(asked.since(granted)) + slack;
    for left in told.into_iter().flatten() {
        assert!(least <= left && left <= most, "told {left:?}, not {least:?} to {most:?}");
    }
}

/// A ttl below a millisecond is one millisecond, not zero and not for ever.
pub async fn t1_bl10_a_submillisecond_ttl_is_rounded_up(subject: &Subject) {
    let key = subject.key("k");
    if subject.provider().info().check_ttl(Ttl::MIN).is_err() {
        let tiny = subject.client().lock(&key).ttl(Duration::from_nanos(1)).try_acquire().await;
        return assert!(tiny.unwrap_err().is_invalid());
    }
    grant(&*subject.lock(&key, Duration::from_nanos(1))).await;
    subject.until_free(&key, subject.units(20)).await;
}

/// The longest ttl that the provider supports works, for a grant and for a renewal.
pub async fn t1_the_longest_ttl_is_kept(subject: &Subject) {
    let (key, info) = (subject.key("k"), subject.provider().info());
    let halves = std::iter::successors(Some(Ttl::MAX.as_duration()), |ttl| Some(*ttl / 2));
    let mut ttls = halves.map_while(|ttl| Ttl::new(ttl).ok());
    let longest = ttls.find(|ttl| info.check_ttl(*ttl).is_ok()).expect("a ttl in range");
    let lock = subject.lock(&key, longest.as_duration());
    grant(&*lock).await;
    assert!(is_renewed(&lock).await);
    let remaining = held(&*subject.lock(&key, subject.long())).await;
    let least = longest.as_duration() - longest.as_duration() / 100;
    assert!(
        remaining.is_none_or(|left| left > least && left <= longest.as_duration()),
        "{remaining:?}"
    );
    released(&*lock).await;
}

/// Zero and endless ttls are refused by core, with the same error for every backend.
pub async fn t1_bl10_ttls_out_of_range_are_refused_before_any_request(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    for ttl in [Duration::ZERO, Duration::MAX, Duration::from_millis(u64::MAX)] {
        let error = client.lock(subject.key("k")).ttl(ttl).try_acquire().await.unwrap_err();
        assert!(error.is_invalid(), "{error:?}");
        assert!(error.to_string().contains("the ttl is "), "{error}");
    }
    assert_eq!(faults.count(Verb::TryAcquire), 0);
}

/// Renewing a live lease says so.
pub async fn t2_bl7_renewing_a_live_lease_succeeds(subject: &Subject) {
    let lock = subject.lock(&subject.key("k"), subject.long());
    grant(&*lock).await;
    assert!(is_renewed(&lock).await);
    assert!(is_renewed(&lock).await);
}

/// Renewing sets the remaining time to the new ttl, whether that is more or less than was left.
pub async fn t2_bl6_renewing_sets_the_remaining_time_longer_or_shorter(subject: &Subject) {
    let key = subject.key("k");
    let longer = Ttl::new(subject.units(40)).unwrap();
    let lock = loop {
        let (lock, before) = (subject.lock(&key, subject.units(1)), subject.clock().now());
        grant(&*lock).await;
        if let Renewal::Renewed(_) = lock.renew(longer).await.unwrap() {
            break lock;
        }
        // On a machine that stands still, the lease may have ended by itself.
        let waited = elapsed(subject.clock(), before);
        assert!(waited >= subject.units(1) * 99 / 100, "lost after {waited:?}");
    };
    subject.pass(subject.units(2)).await;
    held(&*subject.lock(&key, subject.long())).await;
    let shorter = Ttl::new(subject.units(2)).unwrap();
    let before = subject.clock().now();
    assert!(matches!(lock.renew(shorter).await.unwrap(), Renewal::Renewed(_)));
    let free = subject.until_free(&key, subject.units(20)).await.since(before);
    let least = subject.units(2) - subject.units(2) / 100;
    assert!(free >= least, "free after {free:?}, renewed for {shorter}");
}

/// Twenty renewals in a row leave one ttl, not twenty.
pub async fn t2_bl8_renewing_often_never_adds_up(subject: &Subject) {
    let (key, ttl) = (subject.key("k"), subject.units(2));
    let lock = subject.lock(&key, ttl);
    grant(&*lock).await;
    for _ in 0..20 {
        // On a machine that stands still for longer than the ttl, the lease may have ended.
        if !is_renewed(&lock).await {
            return;
        }
    }
    let renewed = subject.clock().now();
    let answer = subject.lock(&key, subject.long()).try_acquire().await.unwrap();
    if let Attempt::Held(Busy { remaining: Some(left), .. }) = answer {
        assert!(left <= ttl, "{left:?} are left of {ttl:?}");
    }
    subject.until_free(&key, subject.units(20)).await;
    assert!(elapsed(subject.clock(), renewed) < ttl * 10, "the renewals were added up");
}

/// No renewal brings back a lease that has expired or was released.
pub async fn t2_bl9_renewing_never_brings_back_an_ended_lease(subject: &Subject) {
    let key = subject.key("k");
    let expired = subject.lock(&key, subject.units(1));
    grant(&*expired).await;
    // The lease ends by itself: the store may not have noticed yet.
    subject.pass(subject.units(2)).await;
    assert!(!is_renewed(&expired).await);
    let free = subject.lock(&key, subject.long());
    grant(&*free).await;
    released(&*free).await;
    assert!(!is_renewed(&free).await);
    if subject.has(Capability::Inspect) {
        assert_eq!(free.inspect().await.unwrap(), None);
    }
    grant(&*subject.lock(&key, subject.long())).await;
}

/// A renewal that is in flight when its lease is released neither brings it back nor changes the
/// time of the next holder.
pub async fn t2_bw5_a_renewal_that_races_the_release_changes_nothing_after_it(subject: &Subject) {
    for round in 0..50 {
        let key = subject.key(&format!("k{round}"));
        let first = subject.lock(&key, subject.long());
        grant(&*first).await;
        let renewals: Vec<_> = (0..4)
            .map(|_| {
                let first = first.clone();
                tokio::spawn(async move { is_renewed(&first).await })
            })
            .collect();
        let release = tokio::spawn(async move { released(&*first).await });
        let next = succeed(subject, &key, &[release]).await;
        for renewal in renewals {
            renewal.await.unwrap();
        }
        let left = held(&*subject.lock(&key, subject.long())).await;
        assert!(left.is_none_or(|left| left <= next.claim().ttl().as_duration()), "{left:?}");
        released(&*next).await;
    }
}

/// While a lease is renewed and asked for again, and when such a request is dropped on its way, the
/// key is never free.
pub async fn t2_a_key_is_never_free_while_its_lease_is_renewed(subject: &Subject) {
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    let token = grant(&*holder).await;
    let renewing = holder.clone();
    let renewals = tokio::spawn(async move {
        for _ in 0..50 {
            assert!(is_renewed(&renewing).await);
            assert_eq!(grant(&*renewing).await, token);
        }
    });
    while !renewals.is_finished() {
        held(&*subject.lock(&key, subject.long())).await;
        tokio::task::yield_now().await;
    }
    renewals.await.unwrap();
    for polls in 1..8 {
        polled(polls, holder.renew(holder.claim().ttl())).await;
        held(&*subject.lock(&key, subject.long())).await;
        polled(polls, holder.try_acquire()).await;
        held(&*subject.lock(&key, subject.long())).await;
    }
    assert_eq!(grant(&*holder).await, token);
}
