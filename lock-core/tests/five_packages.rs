//! What five Go packages can do, line by line, and how it is done here or why it is not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use lock_core::loss::Loss;
use lock_core::observe::{Event, EventKind, Observer};
use lock_core::registry::{LocksConfig, ProviderRegistry};
use lock_core::{Backoff, Capability, ErrorKind, LockClient, OwnerToken, Result, RetryStrategy};
use lock_memory::{Fault, Faults, ManualClock, MemoryProvider, Verb};

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// `ioc/config/lock` of mcube: a provider by name, options, a caller's token, retry strategies.
#[tokio::test(start_paused = true)]
async fn mcube_lock() -> Result<()> {
    // The provider comes from the environment or a file, and a wrong name is found at start-up.
    let registry = ProviderRegistry::new().register(lock_memory::factory())?;
    let config =
        LocksConfig::from_vars([("LOCK_JOBS_URL", "memory://"), ("LOCK_DEFAULT", "jobs")])?;
    let clients = registry.connect_all(&config).await?;
    assert!(clients.get("jbos").is_err());
    let locks = clients.default_client()?;

    // A lock from a factory, with the caller's ttl, token and metadata: Lock, TryLock, UnLock.
    let token = OwnerToken::from_text("job 42, worker 3");
    let job = locks.lock("job/42").ttl(secs(5)).metadata("worker 3");
    let guard = job.clone().owner_token(token).acquire().await?;
    assert_eq!((guard.key().as_str(), *guard.owner_token()), ("job/42", token));
    assert_eq!(guard.metadata().unwrap().to_string(), "worker 3");
    assert!(job.clone().try_acquire().await.unwrap_err().is_contended());

    // Refresh with another ttl, and TTL as the store has it.
    guard.renew_to(secs(60)).await?;
    assert!(guard.remaining().await?.unwrap() > secs(59));
    guard.release().await?;

    // Linear and exponential back-off, and a limit for any strategy. `Timeout` is `wait_at_most`.
    assert_eq!(Backoff::linear(ms(100), ms(100)).max_retries(3).delays().count(), 3);
    assert!(Backoff::exponential(ms(16), ms(500)).delays().take(9).all(|delay| delay <= ms(500)));
    let own = Backoff::from_fn(|| std::iter::repeat(ms(7)));
    assert_eq!(RetryStrategy::max_retries(own, 2).delays().count(), 2);
    let error = {
        let _held = job.clone().acquire().await?;
        job.wait_at_most(ms(20)).acquire().await.unwrap_err()
    };
    assert!(error.is_held_by_another());
    // A process-wide accessor is left out: a client is a value that can be cloned and passed on.
    Ok(())
}

/// `dsync` of golaxy: a mutex with drift, tries, a value and an end, over Redis or etcd.
#[tokio::test(start_paused = true)]
async fn golaxy_dsync() -> Result<()> {
    // DriftFactor; it can only be raised. TimeoutFactor is a time: 0.1 of a ttl of 8 s is 800 ms.
    let locks = LockClient::builder(MemoryProvider::new())
        .ttl(secs(8))
        .clock_drift(0.02)
        .request_timeout(ms(800))
        .retry(Backoff::decorrelated(ms(50), ms(250)).max_retries(32)) // DelayFunc, Tries
        .owner_tokens(OwnerToken::mint) // GenValueFunc
        .build()?;

    // A mutex is a value, and each use of it is an owner of its own.
    let mutex = locks.lock("report");
    let guard = mutex.clone().acquire().await?;
    let value = guard.owner_token().expose().to_owned(); // Value
    let before = SystemTime::now();
    let until = guard.expires_at().expect("held"); // Until, as a time of day
    assert!(until > before + secs(7) && until < SystemTime::now() + secs(8));

    // Extend resets the expiry, and Valid asks the client (`is_held`) or the store (`remaining`).
    guard.renew().await?;
    assert!(guard.is_held() && guard.remaining().await?.is_some());

    // A value goes to another process, which takes the lock over.
    assert_eq!(guard.detach().await.expose(), value);
    let resumed = locks.resume("report", value.parse()?).await?;

    // Unlock that failed can be tried again, and one that is too late is an error.
    resumed.release().await?;
    assert!(mutex.acquire().await?.renew_to(Duration::ZERO).await.is_err_and(|e| e.is_invalid()));

    // What a store cannot do is refused when the client is built, not ignored.
    assert!(locks.require([Capability::Inspect, Capability::Fencing]).is_ok());
    let quorum = lock_quorum::Quorum::new([MemoryProvider::new(), MemoryProvider::new()])?;
    let builder = LockClient::builder(quorum).require([Capability::Queue]);
    assert!(builder.build().unwrap_err().is_unsupported());
    Ok(())
}

/// `setlock`: the remaining time on contention, and `Do` with a context that is cancelled.
#[tokio::test(start_paused = true)]
async fn setlock() -> Result<()> {
    let faults = Faults::new();
    let locks = LockClient::new(faults.around(MemoryProvider::new()));

    // Lock reports how long the lease of the holder has left.
    let guard = locks.lock("k").ttl(secs(10)).acquire().await?;
    let error = locks.lock("k").try_acquire().await.unwrap_err();
    assert_eq!((error.kind(), error.remaining()), (ErrorKind::Contended, Some(secs(10))));
    // "You hold it already" is left out: every acquisition is another owner. Extend adds no time to
    // what is left. It sets it, so that renewing often never adds up.
    guard.release().await?;

    // Do renews, notifies the work of a loss, waits for its clean-up, and returns the error.
    faults.always(Verb::Renew, Fault::unavailable());
    let cleaned_up = Arc::new(Mutex::new(false));
    let cleaning_up = Arc::clone(&cleaned_up);
    let lost = locks.lock("k").ttl(secs(10)).grace(ms(500)).run(async |lease| {
        lease.lost().await;
        tokio::time::sleep(ms(100)).await;
        *Mutex::lock(&cleaning_up).unwrap() = true;
    });
    assert!(lost.await.unwrap_err().is_lost());
    assert!(*Mutex::lock(&cleaned_up).unwrap());
    Ok(())
}

/// `distributed_lock`: strategies that end, and a refresh in the background that gives up.
#[tokio::test(start_paused = true)]
async fn distributed_lock() -> Result<()> {
    let faults = Faults::new();
    let locks = LockClient::new(faults.around(MemoryProvider::new()));

    // Lock retries; an attempt whose answer is lost is repeated under the same value.
    faults.next(Verb::TryAcquire, 1, Fault::LoseAnswer);
    let guard = locks
        .lock("k")
        .ttl(secs(10))
        .retry(Backoff::fixed(ms(100)).max_retries(5))
        .renew_every(secs(2)) // AutoRefresh: interval, …
        .renewal_timeout(secs(1)) // … timeout, …
        .max_renewal_failures(NonZeroU32::new(3).unwrap()) // … and maxRetry, reset by a success
        .no_renewal() // not yet
        .acquire()
        .await?;

    // Refresh by hand, and AutoRefresh of a lock that is held already.
    guard.renew().await?;
    guard.auto_renew();
    tokio::time::sleep(secs(60)).await;
    assert!(guard.is_held());
    faults.next(Verb::Renew, 2, Fault::unavailable());
    tokio::time::sleep(secs(60)).await;
    assert!(guard.is_held(), "two failures in a row are not three");

    // The error channel is `lost`, and giving up is a loss of its own kind.
    faults.always(Verb::Renew, Fault::unavailable());
    let loss = guard.lost().await.expect("given up");
    assert!(matches!(loss, Loss::GaveUp { failures: 3, .. }), "{loss:?}");
    assert!(guard.release().await.unwrap_err().is_lost());
    Ok(())
}

#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Observer for Log {
    fn on_event(&self, event: &Event) {
        if let EventKind::Request { verb, outcome, .. } = event.kind() {
            self.0.lock().unwrap().push(format!("{verb} {}", outcome.name()));
        }
    }
}

/// `lease` of component-base: leases as plain values, a source of tokens, and an observer.
#[tokio::test]
async fn component_base_lease() -> Result<()> {
    let (clock, log) = (ManualClock::new(), Log::default());
    let locks = LockClient::builder(MemoryProvider::builder().clock(clock.clone()).build())
        .observer(log.clone())
        .owner_tokens(|| Ok(OwnerToken::from_bits([7; 16]))) // WithTokenSource
        .build()?;

    // Acquire returns key, token, ttl, a label of the owner, and the time.
    let guard = locks.lock("k").ttl(secs(20)).metadata("billing@host-3").acquire().await?;
    assert_eq!(guard.owner_token().expose(), "BwcHBwcHBwcHBwcHBwcHBw");
    assert_eq!((guard.ttl(), guard.held_since()), (secs(20), Default::default()));
    assert!(guard.acquired_at() <= SystemTime::now());

    // Contention is an error here, with a predicate for it.
    let other = locks.lock("k").owner_token(OwnerToken::mint()?).try_acquire().await;
    assert!(other.unwrap_err().is_held_by_another());

    // CheckOwnership asks the store; Renew counts from now and needs no ttl.
    let occupancy = locks.inspect("k").await?;
    assert_eq!(occupancy.holder().unwrap().owner(), guard.owner());
    clock.advance(secs(15)).await;
    guard.renew().await?;
    clock.advance(secs(15)).await;
    assert!(guard.is_held());

    // Release of a lost lease is an error here: another holder may have worked at the same time.
    clock.advance(secs(20)).await;
    assert!(guard.release().await.unwrap_err().is_lost());

    // The observer gets operations and outcomes, and never a token.
    locks.flush().await;
    let seen = log.0.lock().unwrap().clone();
    let expected = ["try_acquire granted", "try_acquire held", "inspect answered", "renew renewed"];
    assert_eq!(seen[..4], expected);
    Ok(())
}
