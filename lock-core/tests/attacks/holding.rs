//! While a lock is held: renewal, loss, release, undo.

use lock_core::LockClient;
use lock_core::observe::{Event, Observer};
use lock_memory::{Fault, Faults, ManualClock, MemoryProvider, Verb};
use std::sync::{Arc, Mutex};
use tokio::time::{Instant, sleep, timeout};

use super::{ms, s, setup};

#[tokio::test(start_paused = true)]
async fn g1_a_late_short_renewal_after_a_longer_one_makes_no_two_holders() {
    let (store, faults, client) = setup();
    let guard = client.lock("k").ttl(s(30)).acquire().await.unwrap();
    faults.next(Verb::Renew, 1, Fault::Late(s(5)));
    assert!(guard.renew_to(s(10)).await.unwrap_err().is_unavailable()); // gave up after 2s
    guard.renew_to(s(60)).await.unwrap();
    sleep(s(20)).await; // the late one landed at 5 s: the lease ended at 15 s
    let other = LockClient::new(store).lock("k").try_acquire().await;
    let other = other.map_err(|error| assert!(error.is_contended(), "{error}"));
    assert!(!(other.is_ok() && guard.is_held()), "two holders");
}
#[tokio::test(start_paused = true)]
async fn g1_a_late_acquisition_after_a_longer_renewal_makes_no_two_holders() {
    let (store, faults, client) = setup();
    faults.next(Verb::TryAcquire, 1, Fault::Late(s(5)));
    let guard = client.lock("k").ttl(s(4)).acquire().await.unwrap();
    guard.renew_to(s(60)).await.unwrap();
    sleep(s(10)).await;
    let other = LockClient::new(store).lock("k").try_acquire().await;
    let other = other.map_err(|error| assert!(error.is_contended(), "{error}"));
    assert!(!(other.is_ok() && guard.is_held()), "two holders");
}
#[tokio::test(start_paused = true)]
async fn g1_detaching_waits_for_the_renewal_under_way() {
    let (store, faults, client) = setup();
    faults.next(Verb::Renew, 1, Fault::Late(s(1)));
    let guard = client.lock("k").ttl(s(6)).auto_renew().acquire().await.unwrap();
    sleep(ms(2500)).await;
    assert_eq!(faults.count(Verb::Renew), 1);
    let token = guard.detach().await;
    let resumed = client.lock("k").owner_token(token).ttl(s(60)).resume().await.unwrap();
    sleep(s(10)).await;
    let other = LockClient::new(store).lock("k").try_acquire().await;
    let other = other.map_err(|error| assert!(error.is_contended(), "{error}"));
    assert!(!(other.is_ok() && resumed.is_held()), "two holders");
}
#[tokio::test(start_paused = true)]
async fn u1_an_undo_of_two_copies_leaves_none_to_come_to_life() {
    let (store, faults, client) = setup();
    faults.next(Verb::TryAcquire, 1, Fault::Late(s(10)));
    faults.next(Verb::TryAcquire, 1, Fault::LoseAnswer);
    faults.next(Verb::TryAcquire, 1000, Fault::unavailable());
    let e = client.lock("k").ttl(s(300)).acquire().await.unwrap_err();
    assert!(e.is_unavailable());
    sleep(s(1)).await; // undone
    let holder = LockClient::new(store.clone()).inspect("k").await.unwrap();
    assert!(holder.is_free());
    sleep(s(10)).await;
    let holder = LockClient::new(store).inspect("k").await.unwrap();
    assert!(holder.is_free(), "came to life after its own undo: {holder:?}");
}
#[tokio::test(start_paused = true)]
async fn u1_a_lost_guard_undoes_its_stray_copy() {
    let (store, faults, client) = setup();
    faults.next(Verb::TryAcquire, 1, Fault::Late(s(10)));
    let guard = client.lock("k").ttl(s(300)).acquire().await.unwrap();
    store.expire_now(guard.key()); // an operator deletes it
    assert!(guard.renew_to(s(300)).await.unwrap_err().is_lost());
    drop(guard);
    sleep(s(20)).await;
    let holder = LockClient::new(store).inspect("k").await.unwrap();
    assert!(holder.is_free(), "the dead owner holds: {holder:?}");
}
#[tokio::test(start_paused = true)]
async fn g2_a_deadline_that_came_nearer_is_reported_in_time() {
    let (_store, faults, client) = setup();
    let guard = client.lock("k").ttl(s(15)).acquire().await.unwrap();
    let lease = guard.lease();
    let started = Instant::now();
    let lost = tokio::spawn(async move {
        lease.lost().await;
        started.elapsed()
    });
    sleep(ms(1)).await;
    faults.next(Verb::Renew, 1, Fault::DelayAnswer(s(100)));
    assert!(timeout(ms(10), guard.renew_to(s(2))).await.is_err()); // its caller gave up
    let deadline = guard.held_until().unwrap();
    let now = client.clock().now();
    let left = deadline.since(now);
    sleep(left).await;
    assert!(!guard.is_held());
    let told = lost.await.unwrap();
    assert!(told < s(3), "told after {told:?}");
}
#[tokio::test(start_paused = true)]
async fn g3_automatic_renewal_follows_a_shorter_ttl() {
    let (_store, _faults, client) = setup();
    let guard = client.lock("k").ttl(s(30)).auto_renew().acquire().await.unwrap();
    sleep(s(1)).await;
    guard.renew_to(s(5)).await.unwrap();
    sleep(s(60)).await;
    assert!(guard.is_held(), "auto-renewed, healthy backend, lost: {:?}", guard.lost().await);
}
#[tokio::test(start_paused = true)]
async fn g3_automatic_renewal_respects_a_large_stop_margin() {
    let store = MemoryProvider::new();
    let client = LockClient::builder(store).ttl(s(30)).stop_margin(s(21)).build().unwrap();
    let r = client.lock("k").run(|_| async { sleep(s(120)).await }).await;
    assert!(r.is_ok(), "{r:?}");
}
#[tokio::test(start_paused = true)]
async fn g3_a_slow_grant_is_renewed_in_time() {
    let (_store, faults, client) = setup();
    faults.next(Verb::TryAcquire, 1, Fault::DelayAnswer(ms(1900)));
    let r = client.lock("k").ttl(s(3)).run(|_| async { sleep(s(20)).await }).await;
    assert!(r.is_ok(), "{} renewals: {r:?}", faults.count(Verb::Renew));
}
#[tokio::test(start_paused = true)]
async fn g3_one_hung_renewal_leaves_time_for_another() {
    let (_store, faults, client) = setup();
    let events = Arc::new(Log::default());
    drop(client);
    let client = LockClient::builder(faults.around(MemoryProvider::new()))
        .observer(Arc::clone(&events))
        .build()
        .unwrap();
    faults.next(Verb::Renew, 1, Fault::DelayAnswer(s(100)));
    let r = client.lock("k").ttl(s(3)).run(|_| async { sleep(s(20)).await }).await;
    assert!(
        r.is_ok(),
        "{} renewals: {r:?} {:?}",
        faults.count(Verb::Renew),
        events.0.lock().unwrap()
    );
}
#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);
impl Observer for Log {
    fn on_event(&self, e: &Event) {
        self.0.lock().unwrap().push(format!("{:?}", e.kind()).chars().take(40).collect());
    }
}
#[tokio::test(start_paused = true)]
async fn t2_automatic_renewal_does_not_undo_a_renewal_by_hand() {
    let (_store, faults, client) = setup();
    let guard = client.lock("k").ttl(s(9)).auto_renew().acquire().await.unwrap();
    sleep(ms(2600)).await; // keep-alive fires at 2.7..3.3 s
    faults.next(Verb::Renew, 1, Fault::DelayAnswer(ms(1500)));
    guard.renew_to(s(3600)).await.unwrap();
    sleep(ms(100)).await;
    let left = guard.remaining().await.unwrap().unwrap();
    assert!(left > s(3000), "renewed to an hour, {left:?} left");
}
#[tokio::test(start_paused = true)]
async fn g2_renewing_to_less_than_the_stop_margin_is_refused() {
    let store = MemoryProvider::new();
    let client = LockClient::builder(store).stop_margin(s(5)).build().unwrap();
    let guard = client.lock("k").ttl(s(30)).acquire().await.unwrap();
    let r = guard.renew_to(s(4)).await;
    assert!(
        matches!(&r, Err(e) if e.is_invalid()) && guard.is_held(),
        "{r:?}, held {}",
        guard.is_held()
    );
}
#[tokio::test(start_paused = true)]
async fn g3_a_renewal_that_did_nothing_costs_nothing() {
    let (_store, faults, client) = setup();
    let guard = client.lock("k").ttl(s(30)).auto_renew().acquire().await.unwrap();
    faults.next(Verb::Renew, 1, Fault::unavailable()); // NotApplied
    assert!(guard.renew_to(s(5)).await.is_err());
    sleep(s(8)).await;
    assert!(guard.is_held(), "lost although nothing was applied");
}
#[tokio::test(start_paused = true)]
async fn g1_r3_a_resumed_lease_that_is_already_over_is_no_guard() {
    let clock = ManualClock::new();
    let store = MemoryProvider::builder().clock(clock.clone()).build();
    let faults = Faults::new();
    let client = LockClient::new(faults.around(store));
    let token = client.lock("k").ttl(s(30)).acquire().await.unwrap().detach().await;
    faults.next(Verb::Renew, 1, Fault::DelayAnswer(ms(1)));
    let c2 = client.clone();
    let h = tokio::spawn(async move { c2.lock("k").owner_token(token).ttl(s(30)).resume().await });
    tokio::task::yield_now().await;
    clock.jump(s(60)); // SIGSTOP, the answer was in the buffer
    let r = h.await.unwrap();
    assert!(r.is_err(), "a guard, held: {}", r.unwrap().is_held());
}
#[tokio::test(start_paused = true)]
async fn g4_a_repeated_release_keeps_its_first_answer() {
    let (_store, faults, client) = setup();
    faults.next(Verb::TryAcquire, 1, Fault::LoseAnswer);
    let guard = client.lock("k").acquire().await.unwrap();
    faults.next(Verb::Release, 0, Fault::unavailable());
    // first release passes; the sweep fails
    faults.next(Verb::Release, 1, Fault::DelayAnswer(ms(1)));
    faults.next(Verb::Release, 1, Fault::unavailable());
    let e = guard.release_or_keep().await.unwrap_err();
    assert!(!e.is_lost(), "it was held to the end");
    e.into_guard().unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn t2_renewing_to_less_than_the_old_margin_keeps_the_lock() {
    let (_store, _faults, client) = setup();
    let guard = client.lock("k").ttl(s(30)).acquire().await.unwrap();
    guard.renew_to(s(3)).await.unwrap();
    assert!(guard.is_held());
}
#[test]
fn g2_the_cancellation_token_works_without_the_first_runtime() {
    let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let store = MemoryProvider::new();
    let client = LockClient::new(store);
    let guard = rt.block_on(async { client.lock("k").ttl(ms(200)).acquire().await.unwrap() });
    drop(rt);
    let rt2 = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let r = rt2.block_on(async { timeout(s(2), guard.cancellation_token().cancelled()).await });
    assert!(!guard.is_held());
    assert!(r.is_ok(), "the token is not cancelled though the lease is over");
}
#[tokio::test(start_paused = true)]
async fn g5_a_dropped_guard_is_released_for_as_long_as_the_store_may_keep_it() {
    let (store, faults, client) = setup();
    let guard = client.lock("k").ttl(s(60)).acquire().await.unwrap();
    faults.next(Verb::Renew, 1, Fault::unavailable());
    let _ = guard.renew_to(s(7)).await; // not applied: the store keeps 60 s
    faults.next(Verb::Release, 12, Fault::unavailable());
    sleep(s(1)).await;
    drop(guard);
    sleep(s(40)).await;
    let h = LockClient::new(store).inspect("k").await.unwrap();
    assert!(h.is_free(), "{} releases tried, still {h:?}", faults.count(Verb::Release));
}

#[tokio::test(start_paused = true)]
async fn g5_a_dropped_guard_is_released_for_as_long_as_a_renewal_without_an_answer_may_last() {
    let (store, faults, client) = setup();
    let guard = client.lock("k").ttl(s(2)).acquire().await.unwrap();
    faults.next(Verb::Renew, 1, Fault::LoseAnswer);
    let _ = guard.renew_to(s(600)).await; // applied, and the client does not know
    faults.next(Verb::Release, 12, Fault::unavailable());
    drop(guard);
    sleep(s(40)).await;
    let h = LockClient::new(store).inspect("k").await.unwrap();
    assert!(h.is_free(), "{} releases tried, still {h:?}", faults.count(Verb::Release));
}

#[test]
fn g2_each_failed_renewal_is_reported_once() {
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let rt = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        rt.block_on(async {
            let (_s, faults, client) = setup();
            let guard = client.lock("k").ttl(ms(600)).auto_renew().acquire().await.unwrap();
            faults.next(Verb::Renew, 1, Fault::unavailable());
            let lease = guard.lease();
            let h = tokio::spawn(async move {
                let mut n = 0u64;
                while let Some(_risk) = lease.at_risk().await {
                    n += 1;
                }
                n
            });
            sleep(s(2)).await;
            guard.release().await.unwrap();
            let n = h.await.unwrap();
            tx.send(n).unwrap();
        });
    });
    let n = rx.recv_timeout(s(8));
    assert!(matches!(n, Ok(n) if n < 10), "one failed renewal, told {n:?} times");
}
#[test]
fn g4_a_release_does_not_wait_for_a_renewal_that_nobody_polls() {
    let build = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = build();
    let faults = Faults::new();
    let client = LockClient::new(faults.around(MemoryProvider::new()));
    let guard = first.block_on(async {
        let g = client.lock("k").ttl(s(3)).auto_renew().acquire().await.unwrap();
        faults.next(Verb::Renew, 1, Fault::DelayAnswer(ms(500)));
        while faults.count(Verb::Renew) == 0 {
            sleep(ms(1)).await;
        }
        g
    });
    let r = build().block_on(async { timeout(s(8), guard.release()).await.is_ok() });
    assert!(r, "the release has no time limit");
}
#[tokio::test(start_paused = true)]
async fn g3_automatic_renewal_follows_what_is_believed_not_what_was_confirmed() {
    let (_store, faults, client) = setup();
    let guard = client.lock("k").ttl(s(3600)).auto_renew().acquire().await.unwrap();
    sleep(s(1)).await;
    faults.next(Verb::Renew, 1, Fault::LoseAnswer);
    let _ = guard.renew_to(s(3)).await; // 3 s believed from now on
    sleep(s(10)).await;
    assert!(
        guard.is_held(),
        "healthy backend, {} renewals, {:?}",
        faults.count(Verb::Renew),
        guard.lost().await
    );
}
#[derive(Clone)]
struct HookClock(lock_core::clock::TokioClock, Hook);

type Hook = Arc<Mutex<Option<Box<dyn FnOnce() + Send>>>>;

impl std::fmt::Debug for HookClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("c")
    }
}
impl lock_core::clock::Clock for HookClock {
    fn now(&self) -> lock_core::clock::Moment {
        let h = self.1.lock().unwrap().take();
        if let Some(h) = h {
            h();
        }
        self.0.now()
    }
    fn sleep_until(&self, m: lock_core::clock::Moment) -> lock_core::clock::Sleep {
        self.0.sleep_until(m)
    }
}
#[tokio::test(start_paused = true)]
async fn g5_a_renewal_task_ends_with_its_guard_at_any_moment() {
    let clock = HookClock(lock_core::clock::TokioClock::new(), Arc::default());
    let hook = clock.1.clone();
    let client = LockClient::builder(MemoryProvider::new()).clock(clock).build().unwrap();
    let guard = client.lock("k").ttl(s(3000)).auto_renew().acquire().await.unwrap();
    // What another thread may do at this moment:
    *hook.lock().unwrap() = Some(Box::new(move || drop(guard)));
    sleep(s(10)).await;
    let alive = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(alive, 0, "the renewal task outlives its guard");
}
