//! G1 validity, and what a guard can do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lock_core::loss::Loss;
use lock_core::{Capability, LockGuard, Metadata, OwnerToken};
use lock_memory::{Fault, Verb};

use super::{elapsed, polled};
use crate::Subject;

fn assert_usable_everywhere<T: Send + Sync + 'static>(_: &T) {}

/// A guard reports key, token and metadata of its acquisition.
pub async fn bl5_a_guard_reports_what_it_was_asked_for(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let token = OwnerToken::mint().unwrap();
    let mut wanted = client.lock(&key).owner_token(token).ttl(subject.units(20));
    if subject.has(Capability::Metadata) {
        wanted = wanted.metadata("worker-7");
    }
    let guard: LockGuard = wanted.acquire().await.unwrap();
    assert_usable_everywhere(&guard);
    assert_eq!((guard.key(), guard.owner_token()), (&key, &token));
    assert_eq!(guard.fencing_token().is_some(), subject.has(Capability::Fencing));
    if subject.has(Capability::Metadata) {
        assert_eq!(guard.metadata().map(Metadata::as_bytes), Some(&b"worker-7"[..]));
    }
    assert!(guard.is_held());
    guard.check(Duration::ZERO).unwrap();
    assert!(guard.check(subject.units(30)).unwrap_err().is_lost(), "so much was never granted");
    if subject.has(Capability::Inspect) {
        let left = guard.remaining().await.unwrap();
        assert!(left.is_none_or(|left| left <= subject.units(20)), "{left:?}");
    }
    guard.release().await.unwrap();
}

/// The lock of an idle holder is no longer held before the store can grant the key to another
/// owner.
pub async fn g1_a_held_lock_is_let_go_before_another_can_have_it(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let guard = client.lock(&key).ttl(subject.units(2)).acquire().await.unwrap();
    let probe = subject.lock(&key, subject.long());
    let give_up = subject.clock().now().after(subject.units(40));
    loop {
        let held = guard.is_held();
        // The question is asked after the answer of `is_held`, so a grant here would be too early.
        let granted =
            matches!(probe.try_acquire().await.unwrap(), lock_core::backend::Attempt::Granted(_));
        if granted {
            assert!(!guard.is_held(), "granted to another while the guard says held");
            assert!(guard.check(Duration::ZERO).unwrap_err().is_lost());
            assert!(!held || !subject.is_virtual(), "both held the key");
            break;
        }
        assert!(subject.clock().now() < give_up, "the lease never ended");
        subject.pass(subject.units(2) / 400).await;
    }
}

/// A lease is believed from before its request left: an answer that is long on its way does not
/// lengthen it, neither that to an acquisition nor that to a renewal.
pub async fn g1_a_slow_answer_does_not_lengthen_a_lease(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    let client = builder.request_timeout(subject.units(8)).build().unwrap();
    let slow = || Fault::DelayAnswer(subject.units(4));
    // The request has left by then, the answer has not come.
    let between = || client.clock().now().after(subject.units(3));
    let (latest, ttl) = (between(), subject.long());
    faults.next(Verb::TryAcquire, 1, slow());
    let guard = client.lock(subject.key("k")).ttl(ttl).acquire().await.unwrap();
    let until = guard.held_until().unwrap();
    assert!(until < latest.after(ttl), "{until:?} of {latest:?}");
    let (latest, ttl) = (between(), subject.units(12));
    faults.next(Verb::Renew, 1, slow());
    guard.renew_to(ttl).await.unwrap();
    let until = guard.held_until().unwrap();
    assert!(until < latest.after(ttl), "{until:?} of {latest:?}");
    guard.release().await.unwrap();
}

/// A grant whose answer comes when its lease may already be over is no grant, and is undone.
pub async fn g1_a_grant_that_comes_too_late_is_no_grant(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    let client = builder.request_timeout(subject.units(8)).build().unwrap();
    let (key, ttl) = (subject.key("k"), subject.units(4));
    // Before the ttl is over, and after what the safety margins leave of it.
    faults.next(Verb::TryAcquire, 1, Fault::DelayAnswer(ttl - ttl / 200));
    let error = client.lock(&key).ttl(ttl).try_acquire().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    subject.until("it was undone", || faults.count(Verb::Release) >= 1).await;
    subject.until_free(&key, subject.units(20)).await;
}

/// Renewing by hand sets deadline and remaining time, longer or shorter.
pub async fn t2_bl6_a_guard_renews_by_hand(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let guard = client.lock(&key).ttl(subject.units(20)).acquire().await.unwrap();
    let (token, first) = (guard.fencing_token(), guard.held_until().unwrap());
    guard.renew_to(subject.units(50)).await.unwrap();
    assert!(guard.held_until().unwrap() > first);
    assert_eq!(guard.fencing_token(), token);
    guard.renew_to(subject.units(20)).await.unwrap();
    assert!(guard.held_until().unwrap() < first.after(subject.units(25)));
    for bad in [Duration::ZERO, Duration::MAX, Duration::from_millis(1)] {
        assert!(guard.renew_to(bad).await.unwrap_err().is_invalid());
    }
    assert!(guard.is_held(), "a refused renewal changes nothing");
    subject.expire(&key, subject.units(20)).await;
    assert!(guard.renew_to(subject.units(20)).await.unwrap_err().is_lost());
    assert!(!guard.is_held() && guard.held_until().is_none());
    assert!(guard.lost().await.is_some());
}

/// A renewal to a shorter time may have taken effect although its answer was lost: from then on the
/// guard believes the shorter one.
pub async fn g1_a_shorter_renewal_that_is_lost_is_believed(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let guard = client.lock(&key).ttl(subject.long()).acquire().await.unwrap();
    let deadline = guard.held_until();
    faults.next(Verb::Renew, 1, Fault::unavailable());
    assert!(guard.renew_to(subject.units(3)).await.unwrap_err().is_unavailable());
    assert_eq!(guard.held_until(), deadline, "what certainly did nothing changes nothing");
    faults.next(Verb::Renew, 1, Fault::LoseAnswer);
    assert!(guard.renew_to(subject.units(3)).await.unwrap_err().is_unavailable());
    let left = guard.held_until().unwrap().since(client.clock().now());
    assert!(left <= subject.units(3), "believes {left:?} after a lost renewal to 3 units");
}

/// A process that knows key and token can take over a lock, without a gap.
pub async fn a_detached_lock_is_resumed_elsewhere(subject: &Subject) {
    let key = subject.key("k");
    let here = subject.client();
    let guard = here.lock(&key).ttl(subject.long()).auto_renew().acquire().await.unwrap();
    let fencing = guard.fencing_token();
    let lease = guard.lease();
    let token = guard.detach().await;
    assert!(!lease.is_held() && lease.held_until().is_none());
    assert!(lease.lost().await.is_none(), "given away, not lost");
    let carried = token.expose().parse::<OwnerToken>().unwrap();
    let elsewhere = subject.client();
    let resumed = elsewhere.resume(&key, carried).await.unwrap();
    assert_eq!(resumed.fencing_token(), fencing);
    assert!(resumed.is_held());
    assert!(resumed.metadata().is_none(), "the note is in the store alone");
    assert!(here.lock(&key).try_acquire().await.is_err_and(|e| e.is_contended()));
    resumed.release().await.unwrap();
    here.lock(&key).try_acquire().await.expect("free").release().await.unwrap();
}

/// Resuming a lock that is no longer held is an error, and takes nothing from a new holder.
pub async fn resuming_a_lost_lock_takes_nothing(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let nobody = OwnerToken::mint().unwrap();
    assert!(client.resume(&key, nobody).await.unwrap_err().is_lost());
    let token = client.lock(&key).acquire().await.unwrap().detach().await;
    subject.expire(&key, subject.long()).await;
    let holder = client.lock(&key).acquire().await.unwrap();
    let error = client.resume(&key, token).await.unwrap_err();
    assert!(error.is_lost() && error.to_string().contains(key.as_str()), "{error}");
    holder.release().await.unwrap();
}

/// A forgotten lock keeps others out until its ttl ends.
pub async fn a_forgotten_lock_stays_until_its_ttl(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let ttl = subject.units(2);
    let before = subject.clock().now();
    client.lock(&key).ttl(ttl).auto_renew().acquire().await.unwrap().forget();
    let free = subject.until_free(&key, subject.units(40)).await;
    assert!(free.since(before) >= ttl - ttl / 100, "free after {:?}", free.since(before));
}

/// `run` gives back what the work returned, errors included, and the key is free afterwards.
pub async fn w3_bw14_run_returns_the_result_and_frees_the_key(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let result: Result<u32, String> =
        client.lock(&key).run(|_| async { Ok::<_, String>(42) }).await.unwrap();
    assert_eq!(result, Ok(42));
    let result: Result<u32, String> =
        client.lock(&key).run(|_| async { Err("no".to_owned()) }).await.unwrap();
    assert_eq!(result, Err("no".to_owned()));
    let guard = client.lock(&key).try_acquire().await.expect("free");
    let error = client.lock(&key).no_wait().run(|_| async {}).await.unwrap_err();
    assert!(error.is_contended(), "{error}");
    guard.release().await.unwrap();
    // A release that fails does not hide the result.
    let (client, faults) = subject.faulty_client();
    faults.next(Verb::Release, 1, Fault::unavailable());
    assert_eq!(client.lock(&key).run(|_| async { 7 }).await.unwrap(), 7);
    subject.until_free(&key, subject.units(10)).await;
}

/// A panic of the work goes on to the caller, and the key is free.
pub async fn g5_bw14_a_panic_in_run_reaches_the_caller_and_frees_the_key(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let running = {
        let (client, key) = (client.clone(), key.clone());
        tokio::spawn(async move { client.lock(&key).run(|_| async { panic!("the work") }).await })
    };
    assert!(running.await.unwrap_err().is_panic());
    subject.until_free(&key, subject.units(10)).await;
}

/// When the lock is lost, `run` drops the work and reports the loss.
pub async fn g2_bw14_run_drops_the_work_when_the_lock_is_lost(subject: &Subject) {
    struct OnDrop(Arc<AtomicBool>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    faults.next(Verb::Renew, 100_000, Fault::unavailable());
    let dropped = Arc::new(AtomicBool::new(false));
    let witness = OnDrop(Arc::clone(&dropped));
    let started = subject.clock().now();
    let running = client.lock(&key).ttl(subject.units(4)).run(|_| async move {
        let _witness = witness;
        std::future::pending::<()>().await;
    });
    let error = running.await.unwrap_err();
    assert!(error.is_lost() && error.to_string().contains(key.as_str()), "{error}");
    assert!(dropped.load(Ordering::SeqCst));
    assert!(elapsed(subject.clock(), started) < subject.units(40));
}

/// Work that goes on beyond its lease without a pause, so that it cannot be dropped, has no result:
/// another may have held the lock meanwhile.
pub async fn g4_bw14_work_that_outlives_its_lease_has_no_result(subject: &Subject) {
    let (client, key, ttl) = (subject.client(), subject.key("k"), subject.units(1));
    let running =
        client.lock(&key).ttl(ttl).no_renewal().run(async |_| match subject.is_virtual() {
            // The first poll moves the clock.
            true => polled(1, tokio::time::advance(ttl * 2)).await,
            false => std::thread::sleep(ttl * 2),
        });
    assert!(running.await.unwrap_err().is_lost());
    subject.until_free(&key, subject.units(10)).await;
}

/// A limit on the time to hold ends a lock that would be renewed for ever.
pub async fn g2_bw12_max_hold_ends_a_hold_that_is_renewed(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let limit = subject.units(6);
    let started = subject.clock().now();
    let acquire = client.lock(&key).ttl(subject.units(4)).auto_renew().max_hold(limit);
    let guard = acquire.acquire().await.unwrap();
    let loss = guard.lost().await;
    // A machine that stands still may lose the lease before the limit.
    assert!(matches!(loss, Some(Loss::MaxHold)) || !subject.is_virtual(), "{loss:?}");
    assert!(elapsed(subject.clock(), started) >= limit || !subject.is_virtual());
    assert!(!guard.is_held());
    let renewals = faults.count(Verb::Renew);
    // Every third of a ttl, until the lease outlasts the limit; not more often towards the end.
    assert!(renewals <= 6, "{renewals} renewals in one and a half ttls");
    subject.pass(subject.units(4)).await;
    assert_eq!(faults.count(Verb::Renew), renewals, "renewed after the limit");
    drop(guard);
    subject.until_free(&key, subject.units(10)).await;
}

/// A ttl within the safety margins is refused. A longer one works, or fails with the reason.
pub async fn g1_bw13_tiny_ttls_are_refused_or_work(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    for millis in [1, 2] {
        let acquire = client.lock(&key).ttl(Duration::from_millis(millis)).auto_renew();
        let error = acquire.acquire().await.unwrap_err();
        assert!(error.is_invalid() && error.to_string().contains("at least 3ms"), "{error}");
    }
    for millis in [3, 5, 10, 50, 1_000] {
        let acquire = client.lock(&key).ttl(Duration::from_millis(millis)).auto_renew();
        match acquire.acquire().await {
            Ok(guard) => drop(guard.release().await),
            // A backend that is slower than the ttl cannot grant it.
            Err(error) => assert!(error.is_unavailable(), "{error}"),
        }
        subject.until_free(&key, subject.units(20)).await;
    }
    let late = client.lock(&key).ttl(subject.units(2)).renew_every(subject.units(2));
    let error = late.acquire().await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("is too late"), "{error}");
}
