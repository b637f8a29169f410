//! Work under a lock: how it is notified that it has to stop, and when it is dropped.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_core::{Acquire, CancellationToken, LockClient};
use lock_memory::{Fault, Faults, MemoryProvider, Verb};
use tokio::time::{Instant, sleep};

const TTL: Duration = Duration::from_secs(10);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Notes the time at which it is dropped.
struct Dropped(Instant, Arc<Mutex<Option<Duration>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        *self.1.lock().unwrap() = Some(self.0.elapsed());
    }
}

/// Runs work that never ends by itself, with this grace. Returns the times after which it was
/// notified and dropped.
async fn stopped(
    grace: Duration,
    lose: impl FnOnce(&MemoryProvider, &Faults),
    limits: impl FnOnce(Acquire) -> Acquire,
) -> [Duration; 2] {
    let (store, faults) = (MemoryProvider::new(), Faults::new());
    let locks = LockClient::new(faults.around(store.clone()));
    lose(&store, &faults);
    let (told, dropped) = (Arc::default(), Arc::default());
    let (telling, dropping) = (Arc::clone(&told), Arc::clone(&dropped));
    let took = async |lease: lock_core::Lease| {
        let began = Instant::now();
        let _dropped = Dropped(began, dropping);
        lease.lost().await;
        let told = began.elapsed();
        *Mutex::lock(&telling).unwrap() = Some(told);
        std::future::pending::<()>().await;
    };
    let error = limits(locks.lock("k").ttl(TTL).grace(grace)).run(took).await.unwrap_err();
    assert!(error.is_lost(), "{error}");
    let told: Option<Duration> = *told.lock().unwrap();
    let dropped: Option<Duration> = *dropped.lock().unwrap();
    [told.unwrap_or_default(), dropped.expect("dropped")]
}

fn unreachable(_: &MemoryProvider, faults: &Faults) {
    faults.always(Verb::Renew, Fault::unavailable());
}

#[tokio::test(start_paused = true)]
async fn g2_work_that_is_told_of_a_loss_has_its_grace_until_the_lease_may_have_ended() {
    // The stop margin is a tenth of the ttl, and the lease may end at 9.898 s.
    for (grace, dropped) in [(ms(0), ms(8_898)), (ms(300), ms(9_198)), (TTL * 9, ms(9_898))] {
        let [told, after] = stopped(grace, unreachable, |acquire| acquire).await;
        assert_eq!(after, dropped, "with a grace of {grace:?}");
        if !grace.is_zero() {
            assert_eq!(told, ms(8_898));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g2_work_has_no_grace_where_another_owner_has_the_lock() {
    let taken_over = |store: &MemoryProvider, _: &Faults| {
        let store = store.clone();
        tokio::spawn(async move {
            sleep(ms(100)).await;
            store.take_over("k").unwrap();
        });
    };
    let [_, dropped] = stopped(TTL * 9, taken_over, |acquire| acquire).await;
    assert!(dropped <= TTL / 3 * 11 / 10, "at the next renewal, not after {dropped:?}");
}

#[tokio::test(start_paused = true)]
async fn g2_work_has_a_grace_after_giving_up_and_none_after_its_longest_time() {
    let once = NonZeroU32::MIN;
    let give_up = |acquire: Acquire| acquire.max_renewal_failures(once).renew_every(ms(1_000));
    let [told, dropped] = stopped(TTL * 9, unreachable, give_up).await;
    assert!(told <= ms(1_100), "{told:?}");
    assert_eq!(dropped, ms(9_898), "when the lease may have ended");
    let [_, dropped] = stopped(TTL * 9, |_, _| {}, |acquire| acquire.max_hold(ms(500))).await;
    assert_eq!(dropped, ms(500));
}

#[tokio::test(start_paused = true)]
async fn g2_work_that_cleans_up_in_its_grace_is_not_cut_short() {
    let faults = Faults::new();
    let locks = LockClient::new(faults.around(MemoryProvider::new()));
    unreachable(&MemoryProvider::new(), &faults);
    let clean = Arc::new(Mutex::new(false));
    let cleaning = Arc::clone(&clean);
    let error = locks
        .lock("k")
        .ttl(TTL)
        .grace(ms(500))
        .run(|lease| async move {
            lease.lost().await;
            sleep(ms(400)).await;
            *cleaning.lock().unwrap() = true;
        })
        .await
        .unwrap_err();
    assert!(error.is_lost() && *clean.lock().unwrap());
}

#[tokio::test(start_paused = true)]
async fn cancelled_work_is_dropped_after_its_grace_and_the_lock_is_free() {
    for (grace, needs, ends) in [(0, 0, false), (500, 400, true), (500, 600, false)] {
        let locks = LockClient::new(MemoryProvider::new());
        let token = CancellationToken::new();
        let seen = token.clone();
        let running =
            locks.lock("k").grace(ms(grace)).cancelled_by(token.clone()).run(async |_| {
                seen.cancelled().await;
                if grace == 0 {
                    std::future::pending::<()>().await;
                }
                sleep(ms(needs)).await;
                needs
            });
        let stop = async {
            sleep(LockClient::DEFAULT_TTL * 3).await; // renewed meanwhile
            token.cancel();
        };
        let began = Instant::now();
        let (result, ()) = tokio::join!(running, stop);
        let after = began.elapsed() - LockClient::DEFAULT_TTL * 3;
        match result {
            Ok(output) => assert!(ends && output == needs && after == ms(needs)),
            Err(error) => {
                assert!(!ends && error.is_cancelled(), "{error}");
                assert_eq!(after, ms(grace));
                assert_eq!(error.to_string(), "`k` on memory: the caller cancelled the work");
            }
        }
        drop(locks.lock("k").try_acquire().await.expect("released before `run` returned"));
    }
}
