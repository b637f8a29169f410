//! Lines, hand-over and the store's queue.

use lock_core::{Backoff, Error, ErrorKind, Fairness, LockClient};
use lock_memory::{Fault, MemoryProvider, Verb};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

use super::{ms, s, setup};

fn spin(client: LockClient, hold: Duration, pause: Duration, count: Arc<AtomicUsize>) {
    tokio::spawn(async move {
        loop {
            let g = client.lock("k").wait_forever().acquire().await.unwrap();
            sleep(hold).await;
            count.fetch_add(1, Ordering::SeqCst);
            g.release().await.unwrap();
            sleep(pause).await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn m3_two_tasks_of_one_client_do_not_starve_another_client() {
    let store = MemoryProvider::new();
    let (one, two) = (LockClient::new(store.clone()), LockClient::new(store));
    let count = Arc::<AtomicUsize>::default();
    for _ in 0..2 {
        spin(one.clone(), ms(10), ms(1), count.clone());
    }
    sleep(ms(100)).await;
    let before = count.load(Ordering::SeqCst);
    let got =
        timeout(s(60), two.lock("k").fairness(Fairness::Turns).wait_forever().acquire()).await;
    let passed = count.load(Ordering::SeqCst) - before;
    assert!(got.is_ok(), "starved while the other client was served {passed} times");
    assert!(passed <= usize::from(Fairness::TURN) + 1, "{passed}");
}

#[tokio::test(start_paused = true)]
async fn m3_many_tasks_of_one_client_do_not_starve_another_client() {
    let store = MemoryProvider::new();
    let (one, two) = (LockClient::new(store.clone()), LockClient::new(store));
    let count = Arc::<AtomicUsize>::default();
    for _ in 0..5 {
        spin(one.clone(), ms(10), ms(1), count.clone());
    }
    sleep(ms(100)).await;
    let before = count.load(Ordering::SeqCst);
    let got =
        timeout(s(60), two.lock("k").fairness(Fairness::Turns).wait_forever().acquire()).await;
    let passed = count.load(Ordering::SeqCst) - before;
    assert!(got.is_ok() && passed <= usize::from(Fairness::TURN) + 1, "{passed}");
}

#[tokio::test(start_paused = true)]
async fn m3_an_undo_does_not_begin_a_new_turn() {
    let (store, faults, one) = setup();
    let two = LockClient::new(store);
    let count = Arc::<AtomicUsize>::default();
    for _ in 0..5 {
        spin(one.clone(), ms(10), ms(1), count.clone());
    }
    sleep(ms(100)).await;
    // Somebody asks once now and then, and gives up early.
    let asker = one.clone();
    tokio::spawn(async move {
        loop {
            faults.next(Verb::TryAcquire, 1, Fault::DelayAnswer(ms(20)));
            let _ = timeout(ms(5), asker.lock("k").try_acquire()).await;
            sleep(ms(30)).await;
        }
    });
    let before = count.load(Ordering::SeqCst);
    let got =
        timeout(s(60), two.lock("k").fairness(Fairness::Turns).wait_forever().acquire()).await;
    let passed = count.load(Ordering::SeqCst) - before;
    assert!(got.is_ok() && passed <= usize::from(Fairness::TURN) + 12, "{passed} passed over it");
}

#[tokio::test(start_paused = true)]
async fn g1_a_late_handover_to_one_that_acquired_by_itself_makes_no_two_holders() {
    let (store, faults, client) = setup();
    let a = client.lock("k").ttl(s(3)).acquire().await.unwrap();
    let c = client.clone();
    let b = tokio::spawn(async move {
        c.lock("k").ttl(s(5)).wait_forever().retry(Backoff::fixed(s(100))).acquire().await.unwrap()
    });
    sleep(ms(2900)).await; // a's lease ends at 3 s; b will try then
    faults.next(Verb::TryAcquire, 1, Fault::DelayAnswer(ms(1)));
    faults.next(Verb::HandOver, 1, Fault::Late(ms(1500)));
    let dropped = tokio::spawn(async move {
        sleep(ms(50)).await;
        drop(a);
    });
    let b = b.await.unwrap(); // by its own request, when a's lease was over
    dropped.await.unwrap();
    b.renew_to(s(60)).await.unwrap();
    sleep(s(10)).await; // the hand-over came at 4.4 s and set b's lease to 5 s
    let other = LockClient::new(store).lock("k").try_acquire().await;
    let other = other.map_err(|error| assert!(error.is_contended(), "{error}"));
    assert!(!(other.is_ok() && b.is_held()), "two holders");
}

#[tokio::test(start_paused = true)]
async fn w1_a_waiter_behind_a_failing_head_leaves_on_time() {
    let (_store, faults, client) = setup();
    faults.always(Verb::TryAcquire, Fault::DelayAnswer(s(100)));
    let c = client.clone();
    tokio::spawn(async move { drop(c.lock("k").wait_forever().acquire().await) });
    sleep(ms(2100)).await; // its first attempt has failed
    let began = Instant::now();
    let r = client.lock("k").wait_at_most(ms(300)).acquire().await;
    let took = began.elapsed();
    // The backend has never answered, so the attempt at the deadline had half a second.
    assert!(took <= ms(810), "waited {took:?} of 300 ms: {r:?}");
}

#[tokio::test(start_paused = true)]
async fn w3_a_failure_of_long_ago_condemns_no_backend_that_works() {
    let (_store, faults, client) = setup();
    let a = client.lock("k").ttl(s(300)).acquire().await.unwrap();
    faults.next(Verb::TryAcquire, 1, Fault::unavailable());
    let slow = || Backoff::fixed(s(20));
    let c = client.clone();
    let b = tokio::spawn(async move {
        c.lock("k").ttl(s(300)).wait_forever().retry(slow()).acquire().await.unwrap()
    });
    sleep(ms(10)).await; // b's only attempt has failed, it stands in line
    let c = client.clone();
    let d = tokio::spawn(async move {
        c.lock("k").ttl(s(300)).wait_forever().retry(slow()).acquire().await
    });
    sleep(ms(10)).await;
    a.release().await.unwrap(); // a hand-over: the backend works
    let b = b.await.unwrap();
    for _ in 0..19 {
        sleep(s(1)).await;
        b.renew_to(s(300)).await.unwrap();
    } // and works
    faults.next(Verb::TryAcquire, 1, Fault::unavailable()); // one failure
    sleep(s(30)).await;
    assert!(!d.is_finished(), "told that the backend is dead: {:?}", d.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn w2_a_detached_lock_that_is_released_elsewhere_wakes_its_line() {
    let (store, _faults, client) = setup();
    let slow = || Backoff::fixed(s(600));
    let first = client.lock("k").ttl(s(300)).acquire().await.unwrap();
    let task = |c: LockClient| {
        tokio::spawn(async move {
            c.lock("k").ttl(s(300)).wait_forever().retry(slow()).acquire().await.unwrap()
        })
    };
    let a = task(client.clone());
    sleep(ms(10)).await;
    let b = task(client.clone());
    sleep(ms(10)).await;
    first.release().await.unwrap();
    let token = a.await.unwrap().detach().await;
    sleep(s(1)).await;
    let elsewhere = LockClient::new(store);
    elsewhere
        .lock("k")
        .owner_token(token)
        .ttl(s(300))
        .resume()
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    let began = Instant::now();
    let woken = timeout(s(10), b).await;
    assert!(
        woken.is_ok(),
        "the key is free since {:?}, and its only waiter sleeps",
        began.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn w2_a_forgotten_lock_that_has_ended_wakes_its_line() {
    let (_store, _faults, client) = setup();
    let slow = || Backoff::fixed(s(600));
    let first = client.lock("k").ttl(s(300)).acquire().await.unwrap();
    let task = |c: LockClient, ttl| {
        tokio::spawn(async move {
            c.lock("k").ttl(ttl).wait_forever().retry(slow()).acquire().await.unwrap()
        })
    };
    let a = task(client.clone(), s(2));
    sleep(ms(10)).await;
    let b = task(client.clone(), s(300));
    sleep(ms(10)).await;
    first.release().await.unwrap();
    a.await.unwrap().forget(); // its lease ends in 2 s
    let woken = timeout(s(30), b).await;
    assert!(woken.is_ok(), "the key is free for 28 s, and its only waiter sleeps");
}

#[tokio::test(start_paused = true)]
async fn w2_a_refused_handover_wakes_the_line() {
    let (_store, faults, client) = setup();
    faults.always(Verb::Subscribe, Fault::MuteSubscription); // law N1
    let a = client.lock("k").ttl(s(300)).acquire().await.unwrap();
    let slow = || Backoff::fixed(s(100));
    let c = client.clone();
    let b =
        tokio::spawn(
            async move { c.lock("k").wait_forever().retry(slow()).acquire().await.map(drop) },
        );
    sleep(ms(10)).await;
    let c = client.clone();
    let d =
        tokio::spawn(
            async move { c.lock("k").wait_forever().retry(slow()).acquire().await.map(drop) },
        );
    sleep(ms(10)).await;
    faults.next(Verb::HandOver, 1, Fault::Late(ms(100)));
    let r = tokio::spawn(async move { a.release().await.unwrap() });
    sleep(ms(10)).await;
    b.abort(); // undone before the hand-over lands
    drop(r.await);
    let began = Instant::now();
    d.await.unwrap().unwrap();
    assert!(began.elapsed() < s(1), "the key was free for {:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn w2_a_lost_lock_whose_guard_lives_wakes_its_line() {
    let (_store, _faults, client) = setup();
    let first = client.lock("k").ttl(s(300)).acquire().await.unwrap();
    let task = |c: LockClient, ttl| {
        tokio::spawn(async move { c.lock("k").ttl(ttl).wait_forever().acquire().await.unwrap() })
    };
    let a = task(client.clone(), s(2));
    sleep(ms(10)).await;
    let b = task(client.clone(), s(300));
    sleep(ms(10)).await;
    first.release().await.unwrap();
    let a = a.await.unwrap();
    let began = Instant::now();
    let b = b.await.unwrap();
    assert!(began.elapsed() <= s(4), "the key is free after 2 s: {:?}", began.elapsed());
    drop((a, b));
}
#[tokio::test(start_paused = true)]
async fn g1_a_missed_handover_that_is_heard_too_late_makes_no_two_holders() {
    let (store, faults, client) = setup();
    let a = client.lock("k").ttl(s(60)).acquire().await.unwrap();
    let c = client.clone();
    let b = tokio::spawn(async move {
        c.lock("k")
            .ttl(s(5))
            .wait_forever()
            .retry(Backoff::fixed(ms(1900)))
            .acquire()
            .await
            .unwrap()
    });
    sleep(ms(1)).await;
    // a hand-over that is slow on its way; the background tries again
    faults.next(Verb::HandOver, 1, Fault::Late(s(8)));
    drop(a);
    // b's next request is under way while a's retry finds no successor and releases
    faults.next(Verb::TryAcquire, 1, Fault::Late(ms(500)));
    let b = b.await.unwrap();
    b.renew_to(s(60)).await.unwrap();
    sleep(s(20)).await;
    let other = LockClient::new(store).lock("k").try_acquire().await;
    let other = other.map_err(|error| assert!(error.is_contended(), "{error}"));
    assert!(!(other.is_ok() && b.is_held()), "two holders");
}
#[tokio::test(start_paused = true)]
async fn g5_a_waiter_cancelled_at_any_moment_of_a_handover_leaves_the_key_to_the_next() {
    for late in 0..12u64 {
        for cut in 0..12u64 {
            for kind in 0..3 {
                let (_store, faults, client) = setup();
                let a = client.lock("k").ttl(s(300)).acquire().await.unwrap();
                let wait = |c: LockClient| {
                    tokio::spawn(async move {
                        c.lock("k")
                            .ttl(s(300))
                            .wait_forever()
                            .acquire()
                            .await
                            .unwrap()
                            .release()
                            .await
                            .unwrap();
                    })
                };
                let b = wait(client.clone());
                sleep(ms(3)).await;
                let d = wait(client.clone());
                sleep(ms(3)).await;
                faults.next(
                    Verb::HandOver,
                    1,
                    match kind {
                        0 => Fault::Late(ms(late)),
                        1 => Fault::DelayAnswer(ms(late)),
                        _ => Fault::LoseAnswer,
                    },
                );
                faults.next(Verb::Release, 1, Fault::Late(ms(4)));
                let r = tokio::spawn(async move {
                    if late % 2 == 0 {
                        drop(a);
                    } else {
                        let _ = timeout(ms(3), a.release()).await;
                    }
                });
                sleep(ms(cut)).await;
                b.abort();
                let began = Instant::now();
                r.await.unwrap();
                let ok = timeout(s(10), d).await;
                assert!(
                    ok.is_ok() && began.elapsed() < ms(200),
                    "late {late} cut {cut} kind {kind}: {:?}",
                    began.elapsed()
                );
            }
        }
    }
}

/// Ten thousand releases that are reported to no waiter: each is found within the fallback interval.
#[tokio::test(start_paused = true)]
async fn n1_bp1_r41_each_of_10_000_lost_messages_costs_one_fallback_interval_at_most() {
    let (store, faults, deaf) = setup();
    faults.always(Verb::Subscribe, Fault::MuteSubscription);
    let other = LockClient::new(store);
    let interval = s(2); // the longest delay of `Backoff::beside_hints`, which is the default here
    let mut longest = Duration::ZERO;
    for round in 0..10_000 {
        let holder = other.lock("k").acquire().await.unwrap();
        let waiter = tokio::spawn(deaf.lock("k").acquire());
        sleep(ms(round % 300 + 1)).await;
        let freed = Instant::now();
        holder.release().await.unwrap();
        waiter.await.unwrap().unwrap().release().await.unwrap();
        longest = longest.max(freed.elapsed());
        faults.forget_calls();
    }
    assert!(longest <= interval + ms(2), "waited {longest:?}");
}

#[tokio::test(start_paused = true)]
async fn w2_a_waiter_that_times_out_makes_nobody_pass_a_head_that_is_on_time() {
    let (store, faults, client) = setup();
    let _holder = LockClient::new(store).lock("k").ttl(s(900)).acquire().await.unwrap();
    for _ in 0..100 {
        let c = client.clone();
        tokio::spawn(async move { drop(c.lock("k").wait_forever().acquire().await) });
    }
    let c = client.clone();
    tokio::spawn(async move {
        loop {
            drop(c.lock("k").wait_at_most(s(1)).acquire().await);
        }
    });
    sleep(s(60)).await; // every delay has grown to its longest
    faults.forget_calls();
    sleep(s(60)).await;
    // One a second at a deadline, and one every second or two by the head.
    let requests = faults.count(Verb::TryAcquire);
    assert!(requests <= 200, "{requests} requests in a minute");
}

#[tokio::test(start_paused = true)]
async fn w2_a_release_wakes_a_waiter_whose_request_to_queue_up_was_refused_or_lost() {
    let denied = Fault::Fail(Error::new(ErrorKind::Denied, "this user may not queue"));
    for fault in [denied, Fault::unavailable()] {
        let (_store, faults, client) = setup();
        let holder = client.lock("k").ttl(s(900)).acquire().await.unwrap();
        faults.next(Verb::TryAcquire, 1, Fault::DelayAnswer(ms(1)));
        faults.next(Verb::TryAcquire, 1, fault.clone()); // the one that is to take a place
        let waiter = client.lock("k").fairness(Fairness::Fifo).retry(Backoff::fixed(s(600)));
        let waiter = tokio::spawn(async move { waiter.wait_forever().acquire().await.unwrap() });
        sleep(s(1)).await;
        holder.release().await.unwrap();
        let woken = timeout(s(1), waiter).await;
        assert!(woken.is_ok(), "after {fault:?} it slept on beside a free key");
    }
}
