//! Lockers of other libraries, played by a provider that says so, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lock_core::backend::{
    Attempt, Busy, Claim, HandOver, Hints, Inspect, ProviderInfo, Queue, Release, Renewal,
    Subscription, Ttl,
};
use lock_core::{Backoff, Lock, LockClient, LockProvider, Result};
use lock_memory::{Faults, MemoryProvider, Verb};
use tokio::time::Instant;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What the provider says of the present holder, and how often it was asked.
#[derive(Debug, Default)]
struct Foreign {
    /// The answer to every attempt, if any; else the store decides.
    held: Mutex<Option<Attempt>>,
    /// Every release says that others compete.
    contested: Mutex<bool>,
    asked: AtomicU32,
}

/// A store on which a foreign locker competes.
#[derive(Clone, Debug)]
struct Contested {
    store: MemoryProvider,
    foreign_lockers: Arc<Foreign>,
}

#[derive(Debug)]
struct ContestedLock {
    lock: Arc<dyn Lock>,
    foreign_lockers: Arc<Foreign>,
}

impl LockProvider for Contested {
    fn info(&self) -> &ProviderInfo {
        self.store.info()
    }

    fn lock(&self, claim: Claim) -> Arc<dyn Lock> {
        Arc::new(ContestedLock {
            lock: self.store.lock(claim),
            foreign_lockers: Arc::clone(&self.foreign_lockers),
        })
    }

    fn as_inspect(&self) -> Option<&dyn Inspect> {
        self.store.as_inspect()
    }
}

#[async_trait]
impl Lock for ContestedLock {
    async fn try_acquire(&self) -> Result<Attempt> {
        self.foreign_lockers.asked.fetch_add(1, Ordering::SeqCst);
        let held = *self.foreign_lockers.held.lock().unwrap();
        match held {
            Some(attempt) => Ok(attempt),
            None => self.lock.try_acquire().await,
        }
    }

    async fn renew(&self, ttl: Ttl) -> Result<Renewal> {
        self.lock.renew(ttl).await
    }

    async fn release(&self) -> Result<Release> {
        let answer = self.lock.release().await?;
        let contested = *self.foreign_lockers.contested.lock().unwrap();
        Ok(if contested && answer == Release::Released { Release::Contested } else { answer })
    }

    fn as_hints(&self) -> Option<&dyn Hints> {
        Some(self)
    }

    fn as_queue(&self) -> Option<&dyn Queue> {
        Some(self)
    }

    fn as_hand_over(&self) -> Option<&dyn HandOver> {
        self.lock.as_hand_over()
    }
}

#[async_trait]
impl Hints for ContestedLock {
    async fn subscribe(&self) -> Result<Subscription> {
        let (sender, subscription) = Subscription::channel();
        Box::leak(Box::new(sender)); // nobody reports what a foreign locker does
        Ok(subscription)
    }

    async fn try_acquire_or_listen(&self) -> Result<Attempt> {
        self.try_acquire().await
    }
}

#[async_trait]
impl Queue for ContestedLock {
    async fn try_acquire_or_enqueue(&self) -> Result<Attempt> {
        self.try_acquire().await
    }
}

fn contested() -> (Contested, Arc<Foreign>) {
    let foreign_lockers = Arc::<Foreign>::default();
    (
        Contested { store: MemoryProvider::new(), foreign_lockers: Arc::clone(&foreign_lockers) },
        foreign_lockers,
    )
}

fn foreign(remaining: Option<Duration>) -> Option<Attempt> {
    Some(Attempt::Held(Busy::new(remaining).contested(true)))
}

#[tokio::test(start_paused = true)]
async fn w2_a_key_that_a_foreign_locker_holds_is_asked_for_every_10_to_50_ms_and_then_less() {
    let (provider, foreign_lockers) = contested();
    *foreign_lockers.held.lock().unwrap() = foreign(None);
    let locks = LockClient::builder(provider).retry(Backoff::fixed(ms(60_000))).build().unwrap();
    let waiting = tokio::spawn(locks.lock("k").wait_forever().acquire());
    let asked_within = async |time: u64| {
        let before = foreign_lockers.asked.load(Ordering::SeqCst);
        tokio::time::sleep(ms(time)).await;
        foreign_lockers.asked.load(Ordering::SeqCst) - before
    };
    let early = asked_within(500).await;
    assert!((10..=52).contains(&early), "{early} attempts in half a second");
    tokio::time::sleep(ms(59_500)).await;
    let later = asked_within(60_000).await;
    assert!((8..=60).contains(&later), "{later} attempts in a minute, after a minute");
    // A lease that ends later than the one before is another one.
    *foreign_lockers.held.lock().unwrap() = foreign(Some(ms(3_600_000)));
    tokio::time::sleep(ms(12_500)).await;
    let anew = asked_within(500).await;
    assert!((10..=52).contains(&anew), "{anew} attempts in half a second of another holder");
    *foreign_lockers.held.lock().unwrap() = None;
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn w3_an_error_says_that_another_library_holds_the_key_and_whether_it_expires() {
    let (provider, foreign_lockers) = contested();
    let locks = LockClient::new(provider);
    for (remaining, says) in [
        (Some(ms(5_000)), "another library has taken the lock"),
        (None, "another library has taken the lock, without an expiry"),
    ] {
        *foreign_lockers.held.lock().unwrap() = foreign(remaining);
        let contended = locks.lock("k").no_wait().acquire().await.unwrap_err();
        assert!(contended.is_contended() && contended.to_string().contains(says), "{contended}");
        let late = locks.lock("k").wait_at_most(ms(700)).acquire().await.unwrap_err();
        assert!(late.is_timed_out() && late.to_string().contains(says), "{late}");
        assert_eq!(late.remaining(), remaining);
    }
}

#[tokio::test(start_paused = true)]
async fn a_contested_key_is_left_to_others_after_a_release() {
    let (provider, foreign_lockers) = contested();
    let locks = LockClient::new(provider);
    let guard = locks.lock("k").acquire().await.unwrap();
    let next = tokio::spawn(locks.lock("k").acquire());
    tokio::time::sleep(ms(500)).await;
    *foreign_lockers.contested.lock().unwrap() = true;
    *foreign_lockers.held.lock().unwrap() = foreign(Some(ms(10)));
    assert!(
        locks.lock("k").try_acquire().await.is_err_and(|e| e.is_contended()),
        "a foreign locker is seen"
    );
    *foreign_lockers.held.lock().unwrap() = None;
    let freed = Instant::now();
    guard.release().await.unwrap();
    let guard = next.await.unwrap().unwrap();
    let idle = freed.elapsed();
    assert!((ms(10)..=ms(51)).contains(&idle), "the next waiter came after {idle:?}");
    guard.release().await.unwrap();
    let freed = Instant::now();
    let guard = locks.lock("k").acquire().await.unwrap();
    let idle = freed.elapsed();
    assert!((ms(10)..=ms(51)).contains(&idle), "this client came again after {idle:?}");
    drop(locks.lock("other").acquire().await.unwrap());
    *foreign_lockers.contested.lock().unwrap() = false;
    guard.release().await.unwrap();
    tokio::time::sleep(ms(1_000)).await;
    let freed = Instant::now();
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    assert_eq!(freed.elapsed(), ms(0), "nobody foreign was seen for a second");
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_handed_over_all_the_time_is_released_every_two_seconds() {
    let faults = Faults::new();
    let locks = LockClient::new(faults.around(MemoryProvider::new()));
    for _ in 0..4 {
        let locks = locks.clone();
        tokio::spawn(async move {
            loop {
                let guard = locks.lock("k").wait_forever().acquire().await.unwrap();
                tokio::time::sleep(ms(10)).await;
                guard.release().await.unwrap();
            }
        });
    }
    tokio::time::sleep(ms(100)).await;
    faults.forget_calls();
    tokio::time::sleep(ms(20_000)).await;
    let (passed_on, released) = (faults.count(Verb::HandOver), faults.count(Verb::Release));
    // In and after each of the ten breaks some turns find nobody in line.
    assert!((8..=60).contains(&released), "{released} releases in 20 s");
    assert!(passed_on > 1_800, "{passed_on} of 2,000 turns were passed on");
}
