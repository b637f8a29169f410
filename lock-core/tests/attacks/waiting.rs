//! While a lock is waited for: polling, hints, dead backends.

use lock_core::backend::{Attempt, Claim, ProviderInfo, Release, Renewal, Ttl};
use lock_core::clock::SystemClock;
use lock_core::{Backoff, Error, ErrorKind, Lock, LockClient, LockProvider, Result};
use lock_memory::{Fault, Faults, ManualClock, MemoryProvider, Verb};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

use super::{ms, s, setup};

#[tokio::test(start_paused = true)]
async fn w1_a_hanging_subscription_does_not_overshoot_the_wait() {
    let (store, faults, client) = setup();
    let _holder = LockClient::new(store).lock("k").ttl(s(300)).acquire().await.unwrap();
    faults.next(Verb::Subscribe, 100, Fault::DelayAnswer(s(100)));
    let started = Instant::now();
    let e = client.lock("k").wait_at_most(ms(200)).acquire().await.unwrap_err();
    let waited = started.elapsed();
    assert!(waited <= ms(300), "{waited:?} {e}");
}
#[tokio::test(start_paused = true)]
async fn n1_a_hanging_subscription_does_not_stop_polling() {
    let (store, faults, client) = setup();
    let holder = LockClient::new(store).lock("k").ttl(s(300)).acquire().await.unwrap();
    faults.next(Verb::Subscribe, 100, Fault::DelayAnswer(s(100)));
    let c = client.clone();
    let h = tokio::spawn(async move {
        let st = Instant::now();
        let g = c.lock("k").retry(Backoff::fixed(ms(50))).acquire().await;
        (g, st.elapsed())
    });
    sleep(ms(100)).await;
    holder.release().await.unwrap();
    let (_g, t) = h.await.unwrap();
    assert!(
        t < ms(500),
        "polling every 50ms, released after 100ms, got it after {t:?}; subscriptions {}",
        faults.count(Verb::Subscribe)
    );
}
#[test]
fn w2_zero_delays_leave_the_runtime_to_others() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        rt.block_on(async {
            let clock = ManualClock::new();
            let store = MemoryProvider::builder().clock(clock.clone()).build();
            let faults = Faults::new();
            let client = LockClient::new(faults.around(store.clone()));
            faults.next(
                Verb::Subscribe,
                100000,
                Fault::Fail(Error::new(ErrorKind::Unavailable, "no")),
            );
            let holder = LockClient::new(store).lock("k").acquire().await.unwrap();
            let w = tokio::spawn(async move {
                client.lock("k").retry(Backoff::exponential(Duration::ZERO, s(1))).acquire().await
            });
            tokio::task::yield_now().await;
            holder.release().await.unwrap();
            clock.advance(s(1)).await;
            let _ = w.await.unwrap();
        });
        tx.send(()).unwrap();
    });
    assert!(rx.recv_timeout(s(5)).is_ok(), "spins for ever");
}
#[tokio::test(start_paused = true)]
async fn g5_a_grant_of_a_store_side_queue_to_a_waiter_that_left_is_undone() {
    let store = MemoryProvider::new();
    let holder = LockClient::new(store.clone()).lock("k").ttl(s(300)).acquire().await.unwrap();
    let client = LockClient::new(store.clone());
    let granted = async {
        sleep(s(1)).await;
        holder.release().await.unwrap();
        assert!(!client.inspect("k").await.unwrap().is_free(), "the queue has granted");
    };
    // Just then the waiter is cancelled.
    tokio::select! {
        biased;
        () = granted => {}
        _ = client.lock("k").ttl(s(300)).retry(Backoff::fixed(s(50))).acquire() => panic!(),
    }
    sleep(ms(1)).await;
    assert!(client.inspect("k").await.unwrap().is_free(), "undone, not left to its window");
}
#[tokio::test(start_paused = true)]
async fn w2_100_waiters_make_one_request_per_handover() {
    let (store, faults, client) = setup();
    let holder = LockClient::new(store).lock("k").ttl(s(300)).acquire().await.unwrap();
    let mut set = Vec::new();
    for _ in 0..100 {
        let c = client.clone();
        set.push(tokio::spawn(async move {
            let g = c.lock("k").ttl(s(300)).retry(Backoff::fixed(s(10))).acquire().await.unwrap();
            g.release().await.unwrap();
        }));
    }
    sleep(s(1)).await;
    let before = faults.count(Verb::TryAcquire);
    holder.release().await.unwrap();
    for h in set {
        h.await.unwrap();
    }
    let n = faults.count(Verb::TryAcquire);
    assert!(
        before <= 4 && n - before <= 200,
        "{before} requests while held, {} for 100 hand-overs",
        n - before
    );
}
#[tokio::test(start_paused = true)]
async fn w3_a_far_backend_is_not_taken_for_a_dead_one() {
    let (store, faults, client) = setup();
    faults.next(Verb::TryAcquire, 1000, Fault::DelayAnswer(ms(120)));
    let r = client.lock("free").wait_at_most(ms(50)).acquire().await;
    r.expect("a free key is granted however far the backend is").forget();
    let _holder = LockClient::new(store).lock("k").ttl(s(300)).acquire().await.unwrap();
    let e = client.lock("k").wait_at_most(s(1)).acquire().await.unwrap_err();
    assert!(e.is_timed_out(), "contended all the time, reported as {e:?}");
}
#[tokio::test(start_paused = true)]
async fn w2_100_waiters_without_hints_poll_like_one() {
    let (store, faults, client) = setup();
    let _holder = LockClient::new(store).lock("k").ttl(s(300)).acquire().await.unwrap();
    faults.next(
        Verb::Subscribe,
        1_000_000,
        Fault::Fail(Error::new(ErrorKind::Unavailable, "no hints")),
    );
    for _ in 0..100 {
        let c = client.clone();
        tokio::spawn(async move { c.lock("k").acquire().await.map(drop) });
    }
    sleep(s(10)).await;
    let n = faults.count(Verb::TryAcquire);
    let w = faults.count(Verb::Subscribe);
    assert!(
        n < 500,
        "{n} attempts and {w} subscriptions in 10 s of 100 waiters of one process on one key"
    );
}
#[test]
fn w2_zero_delays_in_line_leave_the_runtime_to_others() {
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        rt.block_on(async {
            let store = MemoryProvider::new();
            let client = LockClient::builder(store.clone()).clock(SystemClock).build().unwrap();
            let holder = client.lock("k").ttl(s(300)).acquire().await.unwrap();
            let (a, b) = (client.clone(), client.clone());
            let a = tokio::spawn(async move {
                a.lock("k").retry(Backoff::fixed(s(1))).acquire().await.map(drop)
            });
            tokio::task::yield_now().await;
            let b = tokio::spawn(async move {
                b.lock("k").retry(Backoff::fixed(Duration::ZERO)).acquire().await.map(drop)
            });
            sleep(ms(100)).await;
            holder.release().await.unwrap();
            let _ = (a.await, b.await);
            tx.send(()).unwrap();
        });
    });
    assert!(rx.recv_timeout(s(8)).is_ok(), "spins for ever, the runtime is stuck");
}
#[tokio::test(start_paused = true)]
async fn w2_an_impatient_waiter_is_not_slowed_by_a_patient_head() {
    let (store, faults, client) = setup();
    faults.next(
        Verb::Subscribe,
        1_000,
        Fault::Fail(Error::new(ErrorKind::Unavailable, "no hints")),
    );
    let holder = LockClient::new(store).lock("k").ttl(s(300)).acquire().await.unwrap();
    let a = client.clone();
    tokio::spawn(async move {
        let g = a.lock("k").retry(Backoff::fixed(s(45))).acquire().await;
        drop(g);
    });
    sleep(ms(1)).await;
    let b = client.clone();
    let b = tokio::spawn(async move {
        drop(b.lock("k").retry(Backoff::fixed(ms(50))).acquire().await.unwrap());
    });
    sleep(s(1)).await;
    holder.release().await.unwrap();
    let st = Instant::now();
    b.await.unwrap();
    assert!(st.elapsed() < s(1), "polls every 50 ms, got a free key after {:?}", st.elapsed());
}
#[tokio::test(start_paused = true)]
async fn w2_a_head_that_is_not_polled_is_passed_over() {
    let (store, _faults, client) = setup();
    let holder = LockClient::new(store.clone()).lock("k").ttl(s(300)).acquire().await.unwrap();
    let mut head = Box::pin(client.lock("k").wait_forever().acquire());
    let _ = timeout(ms(10), &mut head).await; // in a select! loop whose other branch now runs
    let c = client.clone();
    let b = tokio::spawn(async move {
        drop(c.lock("k").wait_forever().acquire().await.unwrap());
    });
    sleep(s(1)).await;
    holder.release().await.unwrap();
    let r = timeout(s(3600), b).await;
    assert!(r.is_ok(), "the key has been free for an hour");
    drop(head);
}
#[tokio::test(start_paused = true)]
async fn w3_failures_far_apart_do_not_add_up() {
    let (store, faults, client) = setup();
    let holder = LockClient::new(store.clone()).lock("k").ttl(s(300)).acquire().await.unwrap();
    let a = client.clone();
    let a = tokio::spawn(async move { a.lock("k").wait_at_most(s(20)).acquire().await.map(drop) });
    sleep(ms(10)).await;
    let b = client.clone();
    faults.next(Verb::TryAcquire, 1, Fault::unavailable()); // one blip at B's first request
    let b = tokio::spawn(async move { b.lock("k").wait_at_most(s(60)).acquire().await.map(drop) });
    sleep(ms(1)).await;
    let c = client.clone();
    let c = tokio::spawn(async move { c.lock("k").wait_at_most(s(60)).acquire().await.map(drop) });
    sleep(s(10)).await; // for 10 s the head found the backend healthy
    faults.next(Verb::TryAcquire, 1, Fault::unavailable()); // one more blip
    a.abort();
    sleep(s(5)).await;
    holder.release().await.unwrap();
    let (b, c) = (b.await.unwrap(), c.await.unwrap());
    assert!(b.is_ok() && c.is_ok(), "B {b:?}, C {c:?}");
}

#[tokio::test(start_paused = true)]
async fn w2_neighbours_do_not_use_up_the_patience_of_the_head() {
    let (store, faults, client) = setup();
    faults.always(Verb::Subscribe, Fault::Fail(Error::new(ErrorKind::Unavailable, "no hints")));
    let _holder = LockClient::new(store).lock("k").ttl(s(3000)).acquire().await.unwrap();
    let a = client.clone();
    let began = Instant::now();
    let a = tokio::spawn(async move {
        let r = a
            .lock("k")
            .wait_forever()
            .retry(Backoff::fixed(s(60)).max_retries(3))
            .acquire()
            .await
            .map(drop);
        (r, began.elapsed())
    });
    sleep(ms(1)).await;
    let b = client.clone();
    tokio::spawn(async move {
        drop(b.lock("k").wait_forever().retry(Backoff::fixed(ms(10))).acquire().await);
    });
    let (r, t) = a.await.unwrap();
    assert!(t >= s(180), "patience of 3 x 60 s ended after {t:?}: {r:?}");
}
#[tokio::test(start_paused = true)]
async fn w2_a_subscription_does_not_use_up_a_delay() {
    let (store, _faults, client) = setup();
    let _holder = LockClient::new(store).lock("k").ttl(s(3000)).acquire().await.unwrap();
    let began = Instant::now();
    let r = client
        .lock("k")
        .wait_forever()
        .retry(Backoff::fixed(s(10)).max_retries(1))
        .acquire()
        .await
        .map(drop);
    assert!(began.elapsed() >= s(10), "patience of 10 s ended after {:?}: {r:?}", began.elapsed());
}
#[tokio::test(start_paused = true)]
async fn w3_a_dead_backend_is_no_contention_to_those_in_line() {
    let (_store, faults, client) = setup();
    faults.always(Verb::TryAcquire, Fault::unavailable());
    let a = client.clone();
    tokio::spawn(async move { a.lock("k").wait_at_most(s(60)).acquire().await.map(drop) });
    sleep(ms(1)).await;
    let e = client.lock("k").wait_at_most(s(2)).acquire().await.unwrap_err();
    assert!(e.is_unavailable(), "nobody ever held it, the backend refused every request: {e:?}");
}
#[tokio::test(start_paused = true)]
async fn w3_a_dead_backend_is_reported_past_a_head_that_is_not_polled() {
    let (store, faults, client) = setup();
    let mut head = Box::pin(client.lock("k").wait_forever().acquire());
    let _holder = LockClient::new(store.clone()).lock("k").ttl(s(30000)).acquire().await.unwrap();
    let _ = timeout(ms(10), &mut head).await;
    faults.always(Verb::TryAcquire, Fault::unavailable());
    let r = timeout(s(3600), client.lock("k").wait_forever().acquire()).await;
    assert!(r.is_ok(), "dead for an hour, never told; {} requests", faults.count(Verb::TryAcquire));
}
#[tokio::test(start_paused = true)]
async fn w1_the_last_attempt_of_a_strategy_has_the_time_of_any_other() {
    let (store, faults, client) = setup();
    faults.always(Verb::TryAcquire, Fault::DelayAnswer(ms(150)));
    faults.always(Verb::Subscribe, Fault::Fail(Error::new(ErrorKind::Unavailable, "no hints")));
    let holder = LockClient::new(store.clone()).lock("k").ttl(s(3000)).acquire().await.unwrap();
    let a = client.clone();
    tokio::spawn(async move {
        drop(a.lock("k").wait_forever().retry(Backoff::fixed(s(60))).acquire().await);
    });
    sleep(s(1)).await;
    holder.release().await.unwrap(); // by another process
    let r = client
        .lock("k")
        .wait_forever()
        .retry(Backoff::fixed(ms(200)).max_retries(1))
        .acquire()
        .await
        .map(drop);
    assert!(r.is_ok(), "the key was free: {r:?}");
}
#[derive(Debug)]
struct SlowProvider(MemoryProvider, Arc<AtomicUsize>, Arc<AtomicUsize>);
#[derive(Debug)]
struct SlowLock(Arc<dyn Lock>, Arc<AtomicUsize>, Arc<AtomicUsize>);
impl LockProvider for SlowProvider {
    fn info(&self) -> &ProviderInfo {
        self.0.info()
    }
    fn lock(&self, c: Claim) -> Arc<dyn Lock> {
        Arc::new(SlowLock(self.0.lock(c), self.1.clone(), self.2.clone()))
    }
}
struct Out(Arc<AtomicUsize>);
impl Drop for Out {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
#[async_trait::async_trait]
impl Lock for SlowLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        let n = self.1.fetch_add(1, Ordering::SeqCst) + 1;
        let _out = Out(self.1.clone());
        self.2.fetch_max(n, Ordering::SeqCst);
        sleep(ms(1500)).await;
        self.0.try_acquire().await
    }
    async fn renew(&self, t: Ttl) -> Result<Renewal> {
        self.0.renew(t).await
    }
    async fn release(&self) -> Result<Release> {
        self.0.release().await
    }
}
#[tokio::test(start_paused = true)]
async fn w2_a_slow_backend_gets_one_request_at_a_time() {
    let store = MemoryProvider::new();
    let _holder = LockClient::new(store.clone()).lock("k").ttl(s(3000)).acquire().await.unwrap();
    let (now, most) = (Arc::default(), Arc::<AtomicUsize>::default());
    let client = LockClient::new(SlowProvider(store, now, most.clone()));
    let a = client.clone();
    tokio::spawn(async move { drop(a.lock("k").wait_forever().acquire().await) });
    sleep(s(2)).await;
    most.store(0, Ordering::SeqCst);
    for _ in 0..100 {
        let a = client.clone();
        tokio::spawn(async move { drop(a.lock("k").wait_forever().acquire().await) });
    }
    sleep(s(30)).await;
    assert!(most.load(Ordering::SeqCst) <= 1, "{} requests at a time", most.load(Ordering::SeqCst));
}

#[tokio::test(start_paused = true)]
async fn w1_a_denied_place_in_the_queue_does_not_double_the_time_of_an_attempt() {
    let (store, slow, denying) = (MemoryProvider::new(), Faults::new(), Faults::new());
    let client = LockClient::new(slow.around(denying.around(store.clone())));
    let _holder = LockClient::new(store).lock("k").ttl(s(900)).acquire().await.unwrap();
    let fine = Fault::DelayAnswer(ms(1));
    let denied = Fault::Fail(Error::new(ErrorKind::Denied, "this user may not queue"));
    denying.next(Verb::TryAcquire, 1, fine.clone());
    denying.next(Verb::TryAcquire, 1, denied); // the one that is to take a place
    slow.next(Verb::TryAcquire, 1, fine);
    slow.next(Verb::TryAcquire, 1, Fault::DelayAnswer(ms(350)));
    slow.next(Verb::TryAcquire, 1, Fault::DelayAnswer(s(100)));
    let began = Instant::now();
    let outcome = client.lock("k").wait_at_most(ms(300)).acquire().await;
    let took = began.elapsed();
    assert!(took <= ms(405), "waited {took:?} of 300 ms: {outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn n1_a_waiter_that_was_denied_a_subscription_for_a_moment_queues_up_later() {
    let (store, faults, client) = setup();
    let _holder = LockClient::new(store.clone()).lock("k").ttl(s(900)).acquire().await.unwrap();
    let denied = Fault::Fail(Error::new(ErrorKind::Denied, "this user may not subscribe"));
    faults.next(Verb::Subscribe, 2, denied);
    tokio::spawn(async move { drop(client.lock("k").wait_forever().acquire().await) });
    sleep(s(50)).await;
    assert_eq!(
        faults.count(Verb::Subscribe),
        1,
        "one that is denied is not asked for all the time"
    );
    sleep(s(250)).await;
    assert_eq!(store.waiters("k"), 1, "it polls for ever, behind all who queue");
    assert_eq!(faults.count(Verb::Subscribe), 3);
}
