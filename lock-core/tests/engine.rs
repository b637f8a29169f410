//! What the suite cannot show: object safety, a clock in the test's hand, races in great number, and
//! signals of a store-side queue.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lock_core::backend::{
    Attempt, Claim, Effect, Hints, ProviderInfo, Queue, Release, Renewal, Signal, Subscription, Ttl,
};
use lock_core::{
    Backoff, Capabilities, Capability, Error, ErrorKind, FencingToken, Lock, LockClient, LockKey,
    LockProvider, OwnerToken, Result, RetryStrategy,
};
use lock_memory::{Fault, Faults, ManualClock, MemoryProvider, Verb};

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn pointers_and_decorators_hide_no_ability() {
    let store = MemoryProvider::new();
    let all = Capabilities::of(&store);
    assert_eq!(all.iter().count(), Capability::ALL.len(), "the fake has every one");
    assert_eq!(Capabilities::of(&Arc::new(store.clone())), all);
    let boxed = Box::new(store.clone()) as Box<dyn LockProvider>;
    assert_eq!(Capabilities::of(&Box::new(Arc::new(boxed))), all);
    assert_eq!(Capabilities::of(&Faults::new().around(store)), all);
}

#[tokio::test]
async fn every_trait_is_object_safe_and_forwards_through_pointers() {
    fn provider(_: impl LockProvider) {}
    fn strategy(_: impl RetryStrategy) {}
    provider(Box::new(Arc::new(MemoryProvider::new()) as Arc<dyn LockProvider>));
    strategy(Arc::new(Box::new(Backoff::none()) as Box<dyn RetryStrategy>));
    let boxed: Box<dyn LockProvider> = Box::new(MemoryProvider::new());
    let guard = LockClient::new(boxed).lock("k").acquire().await.unwrap();
    guard.release().await.unwrap();
}

#[tokio::test]
async fn an_hour_of_renewals_takes_no_time_on_a_manual_clock() {
    let (clock, faults) = (ManualClock::new(), Faults::new());
    let store = MemoryProvider::builder().clock(clock.clone()).build();
    let client = LockClient::new(faults.around(store));
    let guard = client.lock("k").ttl(seconds(30)).auto_renew().acquire().await.unwrap();
    clock.advance(seconds(3600)).await;
    assert!(guard.is_held());
    let renewals = faults.count(Verb::Renew);
    assert!((327..=400).contains(&renewals), "{renewals} renewals in an hour at 10 s ± 10 %");
}

#[tokio::test]
async fn g1_bw11_r2_a_process_that_was_paused_past_its_ttl_knows_it_before_any_request() {
    let (clock, faults) = (ManualClock::new(), Faults::new());
    let store = MemoryProvider::builder().clock(clock.clone()).build();
    let client = LockClient::new(faults.around(store.clone()));
    for _ in 0..1_000 {
        let guard = client.lock("k").ttl(seconds(30)).auto_renew().acquire().await.unwrap();
        let calls = faults.calls().len();
        clock.jump(seconds(31));
        // No task has run since the pause: the answer is the clock's alone.
        assert!(!guard.is_held());
        assert!(guard.check(Duration::ZERO).unwrap_err().is_lost());
        assert_eq!(faults.calls().len(), calls);
        // And nothing revives it, not even a renewal that the store would grant.
        assert!(guard.renew_to(seconds(30)).await.unwrap_err().is_lost());
        drop(guard);
        clock.advance(seconds(1)).await;
    }
}

#[tokio::test]
async fn g2_an_answer_after_the_deadline_revives_nothing() {
    let (clock, faults) = (ManualClock::new(), Faults::new());
    let store = MemoryProvider::builder().clock(clock.clone()).build();
    let builder = LockClient::builder(faults.around(store)).request_timeout(seconds(100));
    let client = builder.build().unwrap();
    let guard = client.lock("k").ttl(seconds(30)).acquire().await.unwrap();
    faults.next(Verb::Renew, 1, Fault::DelayAnswer(seconds(29)));
    let renewal = tokio::spawn(async move { (guard.renew_to(seconds(60)).await, guard) });
    clock.advance(seconds(40)).await;
    let (renewed, guard) = renewal.await.unwrap();
    assert!(renewed.is_err());
    assert!(!guard.is_held() && guard.lost().await.is_some());
}

#[tokio::test]
async fn g1_r3_a_grant_that_arrives_when_its_lease_is_over_is_no_guard() {
    let (clock, faults) = (ManualClock::new(), Faults::new());
    let store = MemoryProvider::builder().clock(clock.clone()).build();
    let builder = LockClient::builder(faults.around(store.clone())).request_timeout(seconds(100));
    let client = builder.build().unwrap();
    faults.next(Verb::TryAcquire, 1, Fault::DelayAnswer(seconds(30)));
    let acquiring =
        tokio::spawn(async move { client.lock("k").ttl(seconds(30)).try_acquire().await });
    clock.advance(Duration::ZERO).await;
    clock.jump(seconds(31));
    let error = acquiring.await.unwrap().unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    clock.advance(seconds(1)).await;
    drop(LockClient::new(store).lock("k").try_acquire().await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_bw5_r44_no_renewal_follows_a_release_in_20_000_races() {
    let faults = Faults::new();
    let client = LockClient::new(faults.around(MemoryProvider::new()));
    for round in 0..20_000 {
        let key = LockKey::new(format!("k{}", round % 8)).unwrap();
        let ttl = Duration::from_secs(20);
        let guard = client.lock(&key).ttl(ttl).acquire().await.unwrap();
        let guard = Arc::new(guard);
        let renewing = {
            let guard = Arc::clone(&guard);
            tokio::spawn(async move {
                for _ in 0..3 {
                    let _ = guard.renew_to(ttl).await;
                }
            })
        };
        if round % 2 == 0 {
            tokio::task::yield_now().await;
        }
        renewing.abort();
        let _ = renewing.await;
        let guard = Arc::into_inner(guard).expect("the last one");
        guard.release().await.unwrap();
        let last = faults.calls().pop().unwrap();
        assert_eq!(last.verb, Verb::Release, "round {round}");
        faults.forget_calls();
    }
}

/// A store whose queue grants the key to whoever subscribes.
#[derive(Clone, Debug)]
struct Granting {
    store: MemoryProvider,
    attempts: Arc<AtomicUsize>,
    token: Option<FencingToken>,
}

impl LockProvider for Granting {
    fn info(&self) -> &ProviderInfo {
        self.store.info()
    }

    fn lock(&self, _: Claim) -> Arc<dyn Lock> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl Lock for Granting {
    async fn try_acquire(&self) -> Result<Attempt> {
        Ok(match self.attempts.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => Attempt::held(None),
            _ => Attempt::granted(self.token),
        })
    }

    async fn renew(&self, _: Ttl) -> Result<Renewal> {
        Ok(Renewal::renewed(self.token))
    }

    async fn release(&self) -> Result<Release> {
        Ok(Release::Released)
    }

    fn as_hints(&self) -> Option<&dyn Hints> {
        Some(self)
    }

    fn as_queue(&self) -> Option<&dyn Queue> {
        Some(self)
    }
}

#[async_trait]
impl Hints for Granting {
    async fn subscribe(&self) -> Result<Subscription> {
        let (sender, subscription) = Subscription::channel();
        sender.send(Signal::Granted);
        Box::leak(Box::new(sender)); // the queue keeps its end
        Ok(subscription)
    }

    async fn try_acquire_or_listen(&self) -> Result<Attempt> {
        self.try_acquire().await
    }
}

#[async_trait]
impl Queue for Granting {
    async fn try_acquire_or_enqueue(&self) -> Result<Attempt> {
        self.try_acquire().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_grant_that_a_queue_delivers_is_confirmed_at_once() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let (store, token) = (MemoryProvider::new(), FencingToken::new(7));
    let client = LockClient::new(Granting { store, attempts: Arc::clone(&attempts), token });
    let endless = Backoff::fixed(seconds(50));
    let started = tokio::time::Instant::now();
    let guard = client.lock("k").retry(endless).acquire().await.unwrap();
    assert_eq!(guard.fencing_token(), FencingToken::new(7));
    assert_eq!(attempts.load(Ordering::SeqCst), 3, "try, try after subscribing, confirm");
    assert!(started.elapsed() < seconds(1), "the grant was slept through");
    guard.release().await.unwrap();
}

#[tokio::test]
async fn a_missing_runtime_is_an_error_not_a_panic() {
    let client = LockClient::new(MemoryProvider::new());
    let error = std::thread::spawn(move || {
        let mut acquiring = Box::pin(client.lock("k").acquire());
        let waker = std::task::Waker::noop();
        match acquiring.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
            std::task::Poll::Ready(outcome) => outcome.unwrap_err(),
            std::task::Poll::Pending => panic!("pending without a runtime"),
        }
    })
    .join()
    .unwrap();
    assert!(error.is_misconfigured() && error.to_string().contains("tokio runtime"), "{error}");
}

#[test]
fn guards_and_clients_can_go_anywhere() {
    fn anywhere<T: Send + Sync + Debug + 'static>() {}
    anywhere::<lock_core::LockGuard>();
    anywhere::<lock_core::Lease>();
    anywhere::<LockClient>();
    anywhere::<lock_core::Error>();
    anywhere::<lock_core::ReleaseError>();
    anywhere::<lock_core::registry::ProviderRegistry>();
    fn send<T: Send>(_: T) {}
    let client = LockClient::new(MemoryProvider::new());
    send(client.lock("k").acquire());
    send(client.lock("k").run(|_| async {}));
}

#[tokio::test(start_paused = true)]
async fn w1_bl24_waiting_in_line_and_at_the_head_share_one_deadline() {
    let store = MemoryProvider::new();
    let _holder =
        LockClient::new(store.clone()).lock("k").ttl(seconds(900)).acquire().await.unwrap();
    let client = LockClient::new(store);
    let started = tokio::time::Instant::now();
    let waiters: Vec<_> =
        (0..5).map(|_| tokio::spawn(client.lock("k").wait_at_most(seconds(3)).acquire())).collect();
    for waiter in waiters {
        assert!(waiter.await.unwrap().unwrap_err().is_timed_out());
    }
    assert_eq!(started.elapsed().as_secs(), 3, "each wait would be three seconds of its own");
}

#[tokio::test(start_paused = true)]
async fn w1_bl25_a_wait_is_bounded_unless_the_caller_asks_for_unbounded() {
    let store = MemoryProvider::new();
    let holder =
        LockClient::new(store.clone()).lock("k").ttl(seconds(9_000)).acquire().await.unwrap();
    let client = LockClient::new(store);
    let started = tokio::time::Instant::now();
    assert!(client.lock("k").acquire().await.unwrap_err().is_timed_out());
    assert_eq!(started.elapsed(), LockClient::DEFAULT_WAIT);
    let unbounded = tokio::spawn(client.lock("k").wait_forever().acquire());
    tokio::time::sleep(LockClient::DEFAULT_WAIT * 20).await;
    assert!(!unbounded.is_finished());
    holder.release().await.unwrap();
    unbounded.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn bl29_the_options_of_one_acquisition_do_not_leak_into_another() {
    let client = LockClient::builder(MemoryProvider::new()).ttl(seconds(10)).build().unwrap();
    let lasting =
        |guard: &lock_core::LockGuard| guard.held_until().unwrap().since(client.clock().now());
    let long = client.lock("long").ttl(seconds(100)).no_wait().acquire().await.unwrap();
    let plain = client.lock("plain").acquire().await.unwrap();
    assert!(lasting(&long) > seconds(90) && lasting(&plain) < seconds(10));
    let clone = client.clone();
    assert!(
        clone.lock("plain").wait_at_most(seconds(1)).acquire().await.unwrap_err().is_timed_out()
    );
}

#[tokio::test(start_paused = true)]
async fn g3_a_renewal_that_fails_for_ever_is_tried_a_bounded_number_of_times() {
    let faults = Faults::new();
    let client = LockClient::new(faults.around(MemoryProvider::new()));
    faults.always(Verb::Renew, Fault::unavailable());
    for ttl in [Duration::from_millis(10), seconds(1), seconds(60), seconds(86_400)] {
        faults.forget_calls();
        let guard = client.lock("k").ttl(ttl).auto_renew().acquire().await.unwrap();
        assert!(guard.lost().await.is_some());
        let tries = faults.count(Verb::Renew);
        assert!((1..=40).contains(&tries), "{tries} renewals of a lease of {ttl:?}");
        assert!(guard.release().await.unwrap_err().is_lost());
    }
}

#[tokio::test(start_paused = true)]
async fn e4_bw6_the_renewal_of_a_former_holder_never_renews_the_next() {
    let (store, faults) = (MemoryProvider::new(), Faults::new());
    let client = LockClient::new(faults.around(store.clone()));
    let former = client.lock("k").ttl(seconds(30)).auto_renew().acquire().await.unwrap();
    store.expire_now(former.key());
    let next = client.lock("k").ttl(seconds(60)).acquire().await.unwrap();
    let before = next.remaining().await.unwrap().unwrap();
    assert!(former.lost().await.is_some());
    assert!(faults.count(Verb::Renew) >= 1, "it has tried");
    let left = next.remaining().await.unwrap().unwrap();
    assert!(left < before, "{left:?} are left of {before:?}");
    drop(former);
    tokio::time::sleep(seconds(1)).await;
    next.release().await.unwrap();
}

/// Releases by a dropped guard, or undoes an acquisition whose answer was lost, while the user is
/// denied so many times; returns how often a release was sent, and whether the key got free.
async fn released_though_denied(undo: bool, denials: usize) -> (usize, bool) {
    let (store, faults) = (MemoryProvider::new(), Faults::new());
    let client = LockClient::new(faults.around(store.clone()));
    let denied = Error::new(ErrorKind::Denied, "injected: the user is disabled");
    faults.next(Verb::Release, denials, Fault::Fail(denied.with_effect(Effect::NotApplied)));
    let acquire = client.lock("k").ttl(seconds(600));
    if undo {
        faults.next(Verb::TryAcquire, 1, Fault::LoseAnswer);
        assert!(acquire.try_acquire().await.is_err());
    } else {
        drop(acquire.acquire().await.unwrap());
    }
    tokio::time::sleep(seconds(60)).await;
    let next = LockClient::new(store).lock("k").try_acquire().await;
    let free = next.map_err(|error| assert!(error.is_contended(), "{error}")).is_ok();
    (faults.count(Verb::Release), free)
}

#[tokio::test(start_paused = true)]
async fn u1_r30_a_user_that_is_denied_for_a_moment_leaves_no_key_locked() {
    for undo in [false, true] {
        for denials in 1..=8 {
            let (_, free) = released_though_denied(undo, denials).await;
            assert!(free, "undo: {undo}, denied {denials} times");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn u1_r30_an_undo_that_stays_denied_is_not_tried_for_ever() {
    for undo in [false, true] {
        let (releases, free) = released_though_denied(undo, 10_000).await;
        assert!((8..=20).contains(&releases) && !free, "undo: {undo}, {releases} releases");
    }
}

/// The tokens that [`counted`] makes.
fn token(number: u8) -> OwnerToken {
    OwnerToken::from_bits([number; 16])
}

/// Makes tokens that a test knows: 1, 2, 3 …
fn counted() -> impl Fn() -> Result<OwnerToken> {
    let last = std::sync::atomic::AtomicU8::new(0);
    move || Ok(token(1 + last.fetch_add(1, Ordering::SeqCst)))
}

#[tokio::test(start_paused = true)]
async fn u1_an_acquisition_whose_attempt_was_undone_goes_on_under_a_fresh_owner() {
    let store = MemoryProvider::new();
    let client = LockClient::builder(store.clone()).owner_tokens(counted());
    let client = client.build().unwrap();
    // As a quorum does whose nodes have lost the answers to what it has undone.
    for number in [1, 2] {
        let key = lock_core::LockKey::new("k").unwrap();
        let ttl = lock_core::backend::Ttl::new(seconds(30)).unwrap();
        let undone = store.lock(lock_core::backend::Claim::new(key, token(number), ttl));
        assert_eq!(undone.release().await.unwrap(), Release::NotHeld);
    }
    let guard = client.lock("k").metadata("note").acquire().await.unwrap();
    assert_eq!(*guard.owner_token(), token(3));
    let holder = client.inspect("k").await.unwrap().holder().cloned().expect("a holder");
    assert_eq!((holder.owner(), holder.metadata().as_bytes()), (guard.owner(), &b"note"[..]));
    guard.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn u1_an_owner_whose_requests_stay_in_doubt_is_replaced_and_undone() {
    let (store, faults) = (MemoryProvider::new(), Faults::new());
    let client = LockClient::builder(faults.around(store.clone()));
    let client = client.owner_tokens(counted()).unavailable_after(seconds(60));
    let client = client.build().unwrap();
    faults.always(Verb::TryAcquire, Fault::LoseAnswer);
    let often = Backoff::fixed(Duration::from_millis(100));
    let waiting = tokio::spawn(client.lock("k").wait_forever().retry(often).acquire());
    tokio::time::sleep(Duration::from_millis(1_900)).await;
    assert_eq!(faults.count(Verb::Release), 0, "too early to give the first owner up");
    tokio::time::sleep(seconds(1)).await;
    assert!(faults.count(Verb::Release) > 0, "its requests are undone");
    faults.clear();
    let guard = waiting.await.unwrap().unwrap();
    assert_ne!(*guard.owner_token(), token(1));
    guard.release().await.unwrap();
    let next = LockClient::new(store).lock("k").try_acquire().await;
    drop(next.expect("nothing is left locked"));
}
