//! N1 hints: useful, and never relied on.

use lock_core::backend::Attempt;
use lock_core::{Backoff, Capability};
use lock_memory::{Fault, Verb};
use tokio::sync::oneshot;

use super::{elapsed, grant, is_renewed, listening, released};
use crate::Subject;

/// A waiter that listens gets a signal when the key is released.
pub async fn n1_a_release_wakes_a_waiter_that_listens(subject: &Subject) {
    if !subject.has(Capability::Hints) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let waiter = subject.lock(&key, subject.long());
    let mut subscription = waiter.hints().subscribe().await.unwrap();
    listening(&waiter).await;
    released(&*holder).await;
    let limit = subject.clock().sleep(subject.units(10));
    tokio::select! {
        signal = subscription.next() => assert!(signal.is_some(), "the subscription ended"),
        () = limit => panic!("no signal came"),
    }
    grant(&*waiter).await;
}

/// A waiter that retries at every signal, and only then, is served. The signal of a release comes
/// when the key is free, not before.
pub async fn n1_bp2_a_waiter_that_tries_at_every_signal_is_served(subject: &Subject) {
    if !subject.has(Capability::Hints) {
        return;
    }
    for round in 0..20 {
        let key = subject.key(&format!("k{round}"));
        let holder = subject.lock(&key, subject.long());
        grant(&*holder).await;
        let (waiter, (refused, is_waiting)) =
            (subject.lock(&key, subject.long()), oneshot::channel());
        let served = tokio::spawn(async move {
            let mut subscription = waiter.hints().subscribe().await.unwrap();
            listening(&waiter).await;
            refused.send(()).unwrap();
            while subscription.next().await.is_some() {
                let answer = waiter.hints().try_acquire_or_listen().await.unwrap();
                if let Attempt::Granted(_) = answer {
                    return;
                }
            }
            panic!("the subscription ended");
        });
        is_waiting.await.unwrap();
        let limit = subject.clock().sleep(subject.units(10));
        released(&*holder).await;
        tokio::select! {
            served = served => served.unwrap(),
            () = limit => panic!("no signal came when the key was free"),
        }
    }
}

/// A hundred subscriptions at a time take nothing away that the other verbs need.
pub async fn n1_bp4_many_open_subscriptions_leave_the_backend_usable(subject: &Subject) {
    let mut subscriptions = Vec::new();
    for number in 0..100 {
        let key = subject.key(&format!("k{}", number / 2));
        subscriptions.push(subject.lock(&key, subject.long()).subscribe_if_it_can().await);
    }
    let lock = subject.lock(&subject.key("k0"), subject.long());
    grant(&*lock).await;
    assert!(is_renewed(&lock).await);
    released(&*lock).await;
    drop(subscriptions);
}

/// Dropped subscriptions have no effect on the key.
pub async fn n1_bp4_a_dropped_subscription_leaves_the_key_usable(subject: &Subject) {
    let key = subject.key("k");
    for _ in 0..100 {
        drop(subject.lock(&key, subject.long()).subscribe_if_it_can().await);
    }
    let lock = subject.lock(&key, subject.long());
    grant(&*lock).await;
    released(&*lock).await;
}

/// When every hint is lost, a waiter is served within its backoff.
pub async fn n1_bp1_a_waiter_without_any_hint_is_served(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    faults.next(Verb::Subscribe, 1_000, Fault::MuteSubscription);
    let client = builder.retry(Backoff::fixed(subject.units(1) / 5)).build().unwrap();
    let key = subject.key("k");
    // The holder is another client, because a release in the same client wakes the waiter.
    let holder = subject.client().lock(&key).acquire().await.unwrap();
    let waiter = {
        let (client, key) = (client.clone(), key.clone());
        tokio::spawn(async move { client.lock(&key).acquire().await })
    };
    subject.until("the waiter has tried", || faults.count(Verb::TryAcquire) >= 2).await;
    let freed = subject.clock().now();
    holder.release().await.unwrap();
    drop(waiter.await.unwrap().unwrap());
    let waited = elapsed(subject.clock(), freed);
    assert!(!subject.is_virtual() || waited <= subject.units(1) / 5, "waited {waited:?}");
}

/// A release that comes after the first try and before the subscription is found by the second try.
pub async fn n1_bp2_a_release_between_an_attempt_and_the_subscription_is_not_missed(
    subject: &Subject,
) {
    let (builder, faults) = subject.faulty_builder();
    // The subscription is slow, mute, and the backoff endless: only the try after it can succeed.
    faults.next(Verb::Subscribe, 1, Fault::DelayAnswer(subject.units(4)));
    faults.next(Verb::Subscribe, 1_000, Fault::MuteSubscription);
    let delay = if subject.has(Capability::Hints) { subject.units(30) } else { subject.units(2) };
    let limit = subject.units(8);
    let client = builder.retry(Backoff::fixed(delay)).request_timeout(limit).build().unwrap();
    let key = subject.key("k");
    let holder = subject.client().lock(&key).acquire().await.unwrap();
    let waiter = {
        let (client, key) = (client.clone(), key.clone());
        let wait = subject.units(20);
        tokio::spawn(async move { client.lock(&key).wait_at_most(wait).acquire().await })
    };
    subject.until("the waiter has tried", || faults.count(Verb::TryAcquire) >= 1).await;
    let freed = subject.clock().now();
    holder.release().await.unwrap();
    drop(waiter.await.unwrap().unwrap());
    let waited = elapsed(subject.clock(), freed);
    assert!(waited < subject.units(10), "the release was missed for {waited:?}");
}

/// A subscription that ends as soon as it is opened costs one request per backoff, not a busy loop.
pub async fn n1_bp3_a_subscription_that_ends_at_once_does_not_spin(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    faults.next(Verb::Subscribe, 100_000, Fault::EndSubscription);
    let client = builder.retry(Backoff::fixed(subject.units(1) / 10)).build().unwrap();
    let key = subject.key("k");
    let _holder = subject.client().lock(&key).acquire().await.unwrap();
    let started = subject.clock().now();
    let wait = subject.units(2);
    let error = client.lock(&key).wait_at_most(wait).acquire().await.unwrap_err();
    assert!(error.is_timed_out(), "{error}");
    let waited = elapsed(subject.clock(), started).as_secs_f64();
    let backoffs = (waited / (subject.units(1) / 10).as_secs_f64()).ceil();
    let tries = faults.count(Verb::TryAcquire);
    assert!(tries as f64 <= 2.0 * backoffs + 3.0, "{tries} tries in {backoffs} backoffs");
}
