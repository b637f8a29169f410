//! Quorums of memory stores in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::time::Duration;

use lock_core::backend::{Attempt, Claim, Effect, Prefixed, Ttl};
use lock_core::{Lock, LockClient, LockKey, LockProvider, Occupancy, OwnerToken};
use lock_memory::{Fault, Faults, MemoryProvider, Verb};
use lock_quorum::Quorum;
use lock_testkit::{Pace, Subject, conformance};

fn subject(size: usize) -> Subject {
    let nodes: Vec<_> = (0..size).map(|_| MemoryProvider::new()).collect();
    let stores = nodes.clone();
    Subject::new(Quorum::new(nodes).unwrap()).expire_with(move |key| {
        stores.iter().for_each(|store| store.expire_now(&key));
        async {}
    })
}

conformance!(quorum_of_3, Pace::Paused, || async { subject(3) });
conformance!(quorum_of_5, Pace::Paused, || async { subject(5) });

#[tokio::test(start_paused = true)]
async fn u1_q1_a_failed_attempt_that_some_node_has_granted_is_not_called_unapplied() {
    let faults = Faults::new();
    let failing = || faults.around(MemoryProvider::new());
    let working = Faults::new().around(MemoryProvider::new());
    faults.always(Verb::TryAcquire, Fault::unavailable());
    let locks = LockClient::new(Quorum::new([failing(), failing(), working]).unwrap());
    let error = locks.lock("k").no_wait().acquire().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert_eq!(error.effect(), Effect::Unknown);
}

#[tokio::test(start_paused = true)]
async fn w3_q1_bq7_one_denied_node_does_not_speak_for_the_quorum() {
    let (frozen, denied) = (Faults::new(), Faults::new());
    frozen.always(Verb::TryAcquire, Fault::unavailable());
    let error = lock_core::Error::new(lock_core::ErrorKind::Denied, "no");
    denied.always(Verb::TryAcquire, Fault::Fail(error));
    let nodes = [&frozen, &denied, &Faults::new()].map(|one| one.around(MemoryProvider::new()));
    let locks = LockClient::new(Quorum::new(nodes).unwrap());
    for _ in 0..3 {
        let error = locks.lock("k").no_wait().acquire().await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
    }
}

fn claim(ttl: Duration) -> Claim {
    let (key, ttl) = (LockKey::new("k").unwrap(), Ttl::new(ttl).unwrap());
    Claim::new(key, OwnerToken::mint().unwrap(), ttl)
}

#[tokio::test(start_paused = true)]
async fn u1_q1_an_owner_that_a_majority_has_seen_release_is_refused() {
    let minute = Duration::from_secs(60);
    let stores = [MemoryProvider::new(), MemoryProvider::new(), MemoryProvider::new()];
    let (faults, late) = (Faults::new(), Faults::new());
    late.always(Verb::TryAcquire, Fault::DelayAnswer(Duration::from_millis(50)));
    let [one, two, three] = stores.clone();
    let nodes = [faults.around(one), late.around(two), faults.around(three)];
    let gone = claim(minute);
    for store in &stores[..2] {
        let _ = store.lock(gone.clone()).release().await.unwrap();
    }
    let other = stores[2].lock(claim(minute)).try_acquire().await;
    assert!(matches!(other, Ok(Attempt::Granted(_))));
    let answer = Quorum::new(nodes).unwrap().lock(gone).try_acquire().await;
    assert!(matches!(answer, Ok(Attempt::Undone)), "{answer:?}");
}

/// A release that comes after the lease has ended leaves a tombstone, also that of a failed attempt.
#[tokio::test(start_paused = true)]
async fn u1_q1_an_attempt_that_was_given_back_late_is_no_release_by_the_owner() {
    let second = Duration::from_secs(1);
    let stores = [MemoryProvider::new(), MemoryProvider::new(), MemoryProvider::new()];
    let faults = Faults::new();
    faults.always(Verb::Release, Fault::Late(second / 10));
    let nodes = stores.clone().map(|store| faults.around(store));
    let quorum = Quorum::new(nodes).unwrap().node_timeout(second).unwrap();
    let lock = quorum.lock(claim(second / 20));
    for lone in [0, 1] {
        let others: Vec<_> = stores
            .iter()
            .enumerate()
            .filter(|(node, _)| *node != lone)
            .map(|(_, store)| store.lock(claim(second * 60)))
            .collect();
        for other in &others {
            assert!(matches!(other.try_acquire().await, Ok(Attempt::Granted(_))));
        }
        let answer = lock.try_acquire().await;
        assert!(!matches!(answer, Ok(Attempt::Undone | Attempt::Granted(_))), "{answer:?}");
        for other in &others {
            let _ = other.release().await.unwrap();
        }
    }
    let error = lock.try_acquire().await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("earlier attempt"), "{error}");
    tokio::time::sleep(second * 61).await;
    assert!(matches!(lock.try_acquire().await, Ok(Attempt::Granted(_))));
}

/// Three stores, each behind faults of its own.
fn three() -> ([MemoryProvider; 3], [Faults; 3], Quorum) {
    let stores = [MemoryProvider::new(), MemoryProvider::new(), MemoryProvider::new()];
    let faults = [Faults::new(), Faults::new(), Faults::new()];
    let nodes = faults.iter().zip(stores.clone()).map(|(faults, store)| faults.around(store));
    let quorum = Quorum::new(nodes).unwrap();
    (stores, faults, quorum)
}

fn granted(answer: &lock_core::Result<Attempt>) -> bool {
    matches!(answer, Ok(Attempt::Granted(_)))
}

#[tokio::test(start_paused = true)]
async fn q1_a_node_that_is_back_is_asked_again_however_dense_the_traffic() {
    let (_, [_, _, third], quorum) = three();
    let traffic = async |times: usize| {
        for _ in 0..times {
            let owner = OwnerToken::mint().unwrap();
            let key = LockKey::new(owner.fingerprint().to_string()).unwrap();
            let claim = Claim::new(key, owner, Ttl::new(Duration::from_secs(10)).unwrap());
            assert!(granted(&quorum.lock(claim).try_acquire().await));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    third.always(Verb::TryAcquire, Fault::unavailable());
    traffic(50).await;
    third.clear();
    third.forget_calls();
    traffic(100).await;
    let asked = third.count(Verb::TryAcquire);
    assert!(asked > 50, "asked {asked} times of 100");
}

#[tokio::test(start_paused = true)]
async fn u1_q1_a_release_that_a_node_has_not_taken_is_sent_again() {
    for fault in [Fault::unavailable(), Fault::LoseAnswer] {
        let ([_, _, store], [_, _, third], quorum) = three();
        let lock = quorum.lock(claim(Duration::from_secs(60)));
        assert!(granted(&lock.try_acquire().await));
        third.next(Verb::Release, 3, fault);
        let _ = lock.release().await.unwrap();
        drop(lock);
        tokio::time::sleep(Duration::from_secs(5)).await;
        let next = store.lock(claim(Duration::from_secs(1))).try_acquire().await;
        assert!(granted(&next), "{next:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn u1_q1_a_release_that_a_node_refuses_is_not_sent_for_ever() {
    let (_, [_, _, third], quorum) = three();
    let lock = quorum.lock(claim(Duration::from_secs(60)));
    assert!(granted(&lock.try_acquire().await));
    third.always(Verb::Release, Fault::unavailable());
    let _ = lock.release().await.unwrap();
    tokio::time::sleep(Duration::from_secs(600)).await;
    let asked = third.count(Verb::Release);
    assert!((5..20).contains(&asked), "asked {asked} times");
}

async fn inspect(quorum: &Quorum) -> lock_core::Result<Occupancy> {
    let key = claim(Duration::from_secs(60)).key().clone();
    quorum.as_inspect().unwrap().inspect(&key).await
}

#[tokio::test(start_paused = true)]
async fn i1_q1_a_key_is_reported_free_only_where_no_majority_can_hold_it() {
    let (_, [_, second, third], quorum) = three();
    for verb in [Verb::TryAcquire, Verb::Inspect] {
        third.next(verb, 1, Fault::unavailable());
    }
    let lock = quorum.lock(claim(Duration::from_secs(60)));
    assert!(granted(&lock.try_acquire().await));
    assert!(!inspect(&quorum).await.unwrap().is_free());
    second.always(Verb::Inspect, Fault::unavailable());
    let told = inspect(&quorum).await;
    assert!(told.as_ref().is_err_and(lock_core::Error::is_unavailable), "{told:?}");
    second.clear();
    let _ = lock.release().await.unwrap();
    assert!(inspect(&quorum).await.unwrap().is_free());
}

#[tokio::test(start_paused = true)]
async fn u1_q1_bq9_a_dropped_attempt_goes_on_hearing_its_nodes() {
    let (stores, [_, second, third], quorum) = three();
    for late in [&second, &third] {
        late.always(Verb::TryAcquire, Fault::DelayAnswer(Duration::from_millis(100)));
    }
    let lock = quorum.lock(claim(Duration::from_secs(60)));
    let short = tokio::time::timeout(Duration::from_millis(50), lock.try_acquire()).await;
    assert!(short.is_err());
    let _ = lock.release().await.unwrap();
    drop(lock);
    tokio::time::sleep(Duration::from_secs(1)).await;
    for store in stores {
        assert!(granted(&store.lock(claim(Duration::from_secs(1))).try_acquire().await));
    }
}

#[tokio::test]
async fn q1_r36_a_store_that_is_named_twice_is_refused() {
    let store = MemoryProvider::new();
    let error = Quorum::new([store.clone(), MemoryProvider::new(), store]).unwrap_err();
    assert!(error.is_misconfigured());
    assert!(error.to_string().contains("nodes 1 and 3"), "{error}");
    assert!(Quorum::new::<MemoryProvider>([]).unwrap_err().is_misconfigured());
}

#[tokio::test]
async fn k1_a_quorum_accepts_the_keys_that_every_node_accepts() {
    let node = |prefix: &str| Prefixed::new(MemoryProvider::new(), prefix).unwrap();
    let quorum = Quorum::new([node("a:"), node("longer:"), node("b:")]).unwrap();
    assert_eq!(quorum.info().max_key_len(), LockKey::MAX_LEN - "longer:".len());
}

fn held(answer: &lock_core::Result<Attempt>) -> bool {
    matches!(answer, Ok(Attempt::Held { .. }))
}

/// One node is cut off, so both others are needed; each is slower than its time limit, once.
#[tokio::test(start_paused = true)]
async fn w3_q1_a_node_that_was_slow_to_undo_an_attempt_can_grant_the_next_one() {
    let ([_, second, _], [first, _, third], quorum) = three();
    third.always(Verb::TryAcquire, Fault::unavailable());
    let other = second.lock(claim(Duration::from_secs(60)));
    assert!(granted(&other.try_acquire().await));
    let lock = quorum.lock(claim(Duration::from_secs(60)));
    first.next(Verb::Release, 1, Fault::DelayAnswer(Duration::from_millis(300)));
    let answer = lock.try_acquire().await;
    assert!(held(&answer), "{answer:?}");
    let answer = lock.try_acquire().await;
    assert!(held(&answer), "the holder is at a node that answers: {answer:?}");
    let _ = other.release().await.unwrap();
    let answer = lock.try_acquire().await;
    assert!(granted(&answer), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn w3_q1_a_node_that_was_slow_to_grant_is_not_freed_twice() {
    let ([_, second, _], [first, _, third], quorum) = three();
    third.always(Verb::TryAcquire, Fault::unavailable());
    let other = second.lock(claim(Duration::from_secs(60)));
    let lock = quorum.lock(claim(Duration::from_secs(60)));
    first.next(Verb::TryAcquire, 1, Fault::DelayAnswer(Duration::from_millis(300)));
    let answer = lock.try_acquire().await;
    assert!(answer.as_ref().is_err_and(lock_core::Error::is_unavailable), "{answer:?}");
    assert!(granted(&other.try_acquire().await));
    // It has granted the first attempt and grants the second, which is given back: once.
    let answer = lock.try_acquire().await;
    assert!(held(&answer), "{answer:?}");
    let _ = other.release().await.unwrap();
    let answer = lock.try_acquire().await;
    assert!(granted(&answer), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn w3_q1_a_dead_node_is_not_waited_for_where_the_others_have_answered() {
    let ([_, second, _], [first, _, third], quorum) = three();
    let other = second.lock(claim(Duration::from_secs(60)));
    assert!(granted(&other.try_acquire().await));
    for verb in [Verb::TryAcquire, Verb::Release] {
        third.always(verb, Fault::DelayAnswer(Duration::from_secs(60)));
    }
    first.next(Verb::TryAcquire, 1, Fault::unavailable());
    let failed = quorum.lock(claim(Duration::from_secs(60))).try_acquire().await;
    assert!(failed.is_err(), "{failed:?}");
    // Now two have failed lately, of which one is well.
    let began = tokio::time::Instant::now();
    let answer = quorum.lock(claim(Duration::from_secs(60))).try_acquire().await;
    assert!(held(&answer), "{answer:?}");
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
}

/// The first attempt's grant at the first node becomes known while the second attempt, which others
/// have refused, is still being undone. That grant is released twice, as the second attempt's
/// answer was lost, and the second attempt waits for it.
#[tokio::test(start_paused = true)]
async fn w3_q1_an_attempt_hears_a_release_that_an_earlier_one_has_caused() {
    let milliseconds = Duration::from_millis;
    let ([_, second, third], [slow, undoing, _], quorum) = three();
    let others = [second, third].map(|store| store.lock(claim(Duration::from_secs(60))));
    for other in &others {
        assert!(granted(&other.try_acquire().await));
    }
    slow.next(Verb::TryAcquire, 1, Fault::DelayAnswer(milliseconds(50)));
    slow.next(Verb::TryAcquire, 1, Fault::LoseAnswer);
    slow.next(Verb::Release, 1, Fault::DelayAnswer(milliseconds(10)));
    slow.next(Verb::Release, 1, Fault::DelayAnswer(milliseconds(100)));
    undoing.next(Verb::Release, 1, Fault::DelayAnswer(milliseconds(100)));

    let lock = quorum.lock(claim(Duration::from_secs(60)));
    let answer = lock.try_acquire().await;
    assert!(held(&answer), "{answer:?}");
    let _ = others[0].release().await.unwrap();
    let began = tokio::time::Instant::now();
    let answer = lock.try_acquire().await;
    assert!(held(&answer), "{answer:?}");
    assert!(began.elapsed() >= milliseconds(160), "{:?}", began.elapsed());
}

/// One node is cut off, so both others are needed; one of them is being released again.
#[tokio::test(start_paused = true)]
async fn w3_q1_an_attempt_waits_for_a_release_that_is_sent_again() {
    let milliseconds = Duration::from_millis;
    let ([_, second, _], [slow, _, third], quorum) = three();
    third.always(Verb::TryAcquire, Fault::unavailable());
    let other = second.lock(claim(Duration::from_secs(60)));
    assert!(granted(&other.try_acquire().await));
    let refusal = lock_core::Error::new(lock_core::ErrorKind::Denied, "no");
    slow.next(Verb::TryAcquire, 1, Fault::DelayAnswer(milliseconds(300)));
    slow.next(Verb::Release, 1, Fault::Fail(refusal.with_effect(Effect::NotApplied)));
    slow.next(Verb::Release, 1, Fault::DelayAnswer(milliseconds(100)));

    let lock = quorum.lock(claim(Duration::from_secs(60)));
    let answer = lock.try_acquire().await;
    assert!(answer.as_ref().is_err_and(lock_core::Error::is_unavailable), "{answer:?}");
    let _ = other.release().await.unwrap();
    while slow.count(Verb::Release) < 2 {
        tokio::time::sleep(milliseconds(1)).await;
    }
    let answer = lock.try_acquire().await;
    assert!(granted(&answer), "{answer:?}");
}
