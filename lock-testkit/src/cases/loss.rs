//! G2 loss, G3 unknown is not lost.

use std::time::Duration;

use lock_core::backend::{Claim, Ttl};
use lock_core::loss::Loss;
use lock_core::{Capability, LockGuard};
use lock_memory::{Fault, Verb};

use super::{elapsed, grant, released};
use crate::Subject;

/// Without renewal the loss is reported before the deadline, and the deadline comes before the ttl.
pub async fn g2_a_lease_that_is_not_renewed_is_reported_lost_in_time(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let ttl = subject.units(2);
    let before = subject.clock().now();
    let guard = client.lock(&key).ttl(ttl).acquire().await.unwrap();
    let (deadline, granted) = (guard.held_until().unwrap(), subject.clock().now());
    assert!(deadline < granted.after(ttl), "the deadline counts from before the grant");
    assert!(matches!(guard.lost().await, Some(Loss::Expired { cause: None, .. })));
    if subject.is_virtual() {
        let told = subject.clock().now();
        assert!(deadline.since(told) >= ttl / 20, "told {told:?}, deadline {deadline:?}");
        assert!(elapsed(subject.clock(), before) >= ttl * 4 / 5, "told too early");
    }
    assert!(!guard.is_held(), "a lost lock is not held");
    assert!(guard.check(Duration::ZERO).unwrap_err().is_lost());
}

/// After the loss, every call reports it at once.
pub async fn g2_bw9_a_late_subscriber_learns_of_the_loss(subject: &Subject) {
    let client = subject.client();
    let guard = client.lock(subject.key("k")).ttl(subject.units(1)).acquire().await.unwrap();
    subject.pass(subject.units(3)).await;
    for _ in 0..3 {
        let now = subject.clock().now();
        assert!(guard.lost().await.is_some());
        assert!(!subject.is_virtual() || elapsed(subject.clock(), now) == Duration::ZERO);
    }
    assert!(guard.cancellation_token().is_cancelled());
    assert!(guard.lease().at_risk().await.is_none());
}

/// A release is no loss: none is reported, and the tasks that wait for one end.
pub async fn g2_bw7_a_release_is_no_loss(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let guard = client.lock(&key).auto_renew().acquire().await.unwrap();
    let (lease, token) = (guard.lease(), guard.cancellation_token());
    let waiting = {
        let lease = guard.lease();
        tokio::spawn(async move { lease.lost().await })
    };
    tokio::task::yield_now().await;
    guard.release().await.unwrap();
    assert!(waiting.await.unwrap().is_none());
    assert!(lease.lost().await.is_none());
    assert!(!lease.is_held());
    subject.pass(subject.units(1)).await;
    assert!(!token.is_cancelled());
}

/// When the backend says that the lock is another's, that is the loss, once and for all.
pub async fn g2_bw8_a_stolen_lock_is_lost_at_the_next_renewal(subject: &Subject) {
    let (client, key, ttl) = (subject.client(), subject.key("k"), subject.units(6));
    let guard = client.lock(&key).ttl(ttl).auto_renew().acquire().await.unwrap();
    let early = guard.fencing_token();
    // A process that knows the owner token can release without the guard.
    let claim = Claim::new(key.clone(), *guard.owner_token(), Ttl::new(ttl).unwrap());
    released(&*subject.bind(claim)).await;
    let thief = subject.lock(&key, subject.long());
    let late = grant(&*thief).await;
    assert!(early.is_none() || late > early);
    let loss = guard.lost().await.expect("a loss");
    assert!(matches!(loss, Loss::NotYours) || !subject.is_virtual(), "{loss:?}");
    assert!(guard.renew_to(subject.long()).await.unwrap_err().is_lost(), "loss is terminal");
    drop(guard);
    assert_eq!(grant(&*thief).await, late, "the new holder was not touched");
}

/// A lock that ended and was acquired again is another lock, even under the same owner token. The
/// first holder has lost it.
pub async fn g2_bw6_a_lock_that_was_taken_again_in_between_is_lost(subject: &Subject) {
    if !subject.has(Capability::Fencing) {
        return;
    }
    let (client, key, ttl) = (subject.client(), subject.key("k"), subject.units(6));
    let guard = client.lock(&key).ttl(ttl).auto_renew().acquire().await.unwrap();
    let ttl = Ttl::new(subject.long()).unwrap();
    let lock = subject.bind(Claim::new(key.clone(), *guard.owner_token(), ttl));
    released(&*lock).await;
    let between = subject.lock(&key, subject.long());
    grant(&*between).await;
    released(&*between).await;
    grant(&*lock).await;
    let loss = guard.lost().await.expect("a loss");
    assert!(matches!(loss, Loss::NotYours) || !subject.is_virtual(), "{loss:?}");
}

/// The cancellation token is cancelled by a loss, for early and late subscribers.
pub async fn g2_the_cancellation_token_fires_on_loss_alone(subject: &Subject) {
    let client = subject.client();
    let guard = client.lock(subject.key("k")).ttl(subject.units(1)).acquire().await.unwrap();
    let token = guard.cancellation_token();
    assert!(!token.is_cancelled() || !subject.is_virtual());
    token.cancelled().await;
    assert!(guard.lost().await.is_some());
}

async fn renewed_guard(subject: &Subject, client: &lock_core::LockClient) -> LockGuard {
    let ttl = subject.units(12);
    client.lock(subject.key("k")).ttl(ttl).auto_renew().acquire().await.unwrap()
}

/// Renewals that fail for a while put the lock at risk, which is reported, and the lock survives.
pub async fn g3_bw1_renewals_that_fail_for_a_while_are_survived(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let guard = renewed_guard(subject, &client).await;
    faults.next(Verb::Renew, 2, Fault::unavailable());
    let risk = guard.at_risk().await.expect("a risk before any loss");
    assert!(risk.failures >= 1 && risk.cause.is_unavailable(), "{risk:?}");
    assert!(guard.is_held(), "at risk is not lost");
    subject.until("it was renewed again", || faults.count(Verb::Renew) >= 4).await;
    assert!(guard.is_held());
    guard.check(subject.units(1)).unwrap();
    guard.release().await.unwrap();
}

/// A backend that stays out of reach is a loss at the margin: not before the lease was in danger,
/// and before its deadline.
pub async fn g2_bw2_an_unreachable_backend_is_a_loss_at_the_margin(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let guard = renewed_guard(subject, &client).await;
    faults.next(Verb::Renew, 100_000, Fault::unavailable());
    let deadline = guard.held_until().unwrap();
    guard.at_risk().await.expect("a risk before the loss");
    let loss = guard.lost().await.expect("a loss");
    assert!(matches!(&loss, Loss::Expired { cause: Some(cause), .. } if cause.is_unavailable()));
    if subject.is_virtual() {
        let told = subject.clock().now();
        assert!(told < deadline && told > deadline.before(subject.units(3)), "{told:?}");
    }
    let tries = faults.count(Verb::Renew);
    assert!(tries >= 3, "renewed only {tries} times");
    let error = guard.check(Duration::ZERO).unwrap_err();
    assert!(error.is_lost() && std::error::Error::source(&error).is_some(), "{error:?}");
}

/// One lost answer is no loss of the lock.
pub async fn g3_bw3_one_lost_answer_is_no_loss(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let guard = renewed_guard(subject, &client).await;
    faults.next(Verb::Renew, 1, Fault::LoseAnswer);
    subject.until("it was renewed again", || faults.count(Verb::Renew) >= 3).await;
    assert!(guard.is_held());
    guard.release().await.unwrap();
}

/// A renewal that panics is a renewal that failed: the next one follows, the process lives.
pub async fn g3_bw4_a_panicking_renewal_is_a_failure_not_the_end(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let guard = renewed_guard(subject, &client).await;
    faults.next(Verb::Renew, 1, Fault::Panic);
    let risk = guard.at_risk().await.expect("a risk");
    assert!(risk.cause.to_string().contains("panicked"), "{}", risk.cause);
    subject.until("it was renewed again", || faults.count(Verb::Renew) >= 3).await;
    assert!(guard.is_held());
    guard.release().await.unwrap();
}

/// Renewing by hand does not start a second renewal task.
pub async fn bw16_a_lock_has_one_renewal_task(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let ttl = subject.units(12);
    let acquire = client.lock(subject.key("k")).ttl(ttl).renew_every(subject.units(2));
    let guard = acquire.acquire().await.unwrap();
    for _ in 0..5 {
        guard.renew_to(ttl).await.unwrap();
    }
    let by_hand = faults.count(Verb::Renew);
    let started = subject.clock().now();
    subject.pass(subject.units(9)).await;
    let intervals =
        elapsed(subject.clock(), started).as_secs_f64() / subject.units(2).as_secs_f64();
    let renewals = (faults.count(Verb::Renew) - by_hand) as f64;
    assert!(renewals <= intervals / 0.9 + 1.0, "{renewals} renewals in {intervals} intervals");
    assert!(renewals >= 1.0);
    guard.release().await.unwrap();
}
