//! W1 bounded waits, W2 frugal waits, W3 honest errors.

use std::error::Error as _;
use std::time::Duration;

use lock_core::backend::Effect;
use lock_core::{Backoff, Capability, Error, ErrorKind};
use lock_memory::{Fault, Verb};
use tokio_util::sync::CancellationToken;

use super::{elapsed, grant, held, released};
use crate::Subject;

/// A waiter gets a key that is released while it waits.
pub async fn w1_bl20_a_waiter_gets_a_key_that_is_released_in_time(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    // The holder is another client, because a release in the same client wakes the waiter.
    let holder = subject.client().lock(&key).acquire().await.unwrap();
    let waiting = client.lock(&key).wait_at_most(subject.units(20)).acquire();
    let (waited, ()) = tokio::join!(waiting, async {
        subject.pass(subject.units(1)).await;
        holder.release().await.unwrap();
    });
    drop(waited.unwrap());
}

/// A last attempt is made at the deadline, even with a longer backoff.
pub async fn w1_bl21_a_last_attempt_is_made_at_the_deadline(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    faults.next(Verb::Subscribe, 1_000, Fault::MuteSubscription);
    let client = builder.retry(Backoff::fixed(subject.units(1_000))).build().unwrap();
    let key = subject.key("k");
    let holder = subject.client().lock(&key).acquire().await.unwrap();
    let waiting = client.lock(&key).wait_at_most(subject.units(4)).acquire();
    // Once before it subscribes and, if it does, once more.
    let early = if subject.has(Capability::Hints) { 2 } else { 1 };
    let (waited, ()) = tokio::join!(waiting, async {
        subject.until("the waiter has tried", || faults.count(Verb::TryAcquire) >= early).await;
        holder.release().await.unwrap();
    });
    drop(waited.unwrap());
}

/// A wait ends at its deadline, not a backoff later, and the error says what was tried.
pub async fn w1_bl22_a_wait_does_not_overshoot(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let _holder = client.lock(&key).acquire().await.unwrap();
    let started = subject.clock().now();
    let wait = subject.units(2);
    let backoff = Backoff::fixed(subject.units(3) / 2);
    let error = client.lock(&key).wait_at_most(wait).retry(backoff).acquire().await.unwrap_err();
    let waited = elapsed(subject.clock(), started);
    assert!(error.is_timed_out(), "{error}");
    assert!(waited >= wait, "gave up after {waited:?}");
    let limit = if subject.is_virtual() { wait } else { wait + Duration::from_secs(5) };
    assert!(waited <= limit, "waited {waited:?} instead of {wait:?}");
    let effort = error.effort().unwrap();
    assert!(effort.attempts >= 2 && effort.waited >= wait, "{effort:?}");
    let message = error.to_string();
    assert!(message.contains(key.as_str()) && message.contains("attempts: "), "{message}");
}

/// The first attempt of a bounded wait ends soon after the deadline as well: half a second after it
/// while nothing is known of the backend's speed, and sooner once it has answered fast.
pub async fn w1_a_wait_for_a_frozen_backend_ends_soon_after_its_deadline(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    let client = builder.request_timeout(subject.units(60)).build().unwrap();
    let wait = Duration::from_millis(300);
    let slack = Duration::from_millis(if subject.is_virtual() { 1 } else { 5_000 });
    let frozen = async || {
        faults.next(Verb::TryAcquire, 1, Fault::DelayAnswer(subject.units(60)));
        let started = subject.clock().now();
        let acquire = client.lock(subject.key("k")).ttl(subject.long() * 2);
        let error = acquire.wait_at_most(wait).acquire().await.unwrap_err();
        assert!(error.is_unavailable(), "nothing was seen of another holder: {error}");
        elapsed(subject.clock(), started)
    };
    let waited = frozen().await;
    assert!(waited <= wait + Duration::from_millis(500) + slack, "{waited:?} instead of {wait:?}");
    client.lock(subject.key("other")).acquire().await.unwrap().release().await.unwrap();
    let waited = frozen().await;
    // What it takes here is not known beforehand in real time.
    assert!(waited <= wait + Duration::from_millis(100) + slack, "{waited:?} instead of {wait:?}");
}

/// The last attempt has the time that the backend needs: a key that was free in time is granted.
pub async fn w1_a_slow_backend_answers_the_last_attempt(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let holder = subject.client().lock(&key).acquire().await.unwrap();
    faults.next(Verb::TryAcquire, 1_000, Fault::DelayAnswer(Duration::from_millis(120)));
    faults.next(Verb::Subscribe, 1_000, Fault::unavailable()); // it hears of no release
    let seldom = Backoff::fixed(subject.units(60));
    let waiting = client.lock(&key).wait_at_most(subject.units(2)).retry(seldom).acquire();
    let (guard, ()) = tokio::join!(waiting, async {
        subject.pass(subject.units(1)).await;
        holder.release().await.unwrap();
    });
    drop(guard.unwrap());
}

/// A last attempt without an answer is no proof that the key was held until then, and the error
/// says what is known.
pub async fn w3_a_last_attempt_without_an_answer_is_reported_as_that(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let _holder = subject.client().lock(&key).acquire().await.unwrap();
    faults.next(Verb::Subscribe, 1_000, Fault::unavailable());
    let seldom = Backoff::fixed(subject.units(60));
    let waiting = client.lock(&key).wait_at_most(subject.units(2)).retry(seldom).acquire();
    let (error, ()) = tokio::join!(async { waiting.await.unwrap_err() }, async {
        subject.until("it has tried", || faults.count(Verb::TryAcquire) >= 1).await;
        faults.next(Verb::TryAcquire, 1, Fault::DelayAnswer(subject.units(60)));
    });
    assert!(error.is_timed_out(), "{error}");
    let message = error.to_string();
    assert!(message.contains("had no answer within") && message.contains(" ago: "), "{message}");
}

/// The ttl begins with the grant: a long wait leaves all of it.
pub async fn t1_bl23_waiting_does_not_shorten_the_lease(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let holder = subject.client().lock(&key).acquire().await.unwrap();
    let ttl = subject.units(10);
    let waiting = client.lock(&key).ttl(ttl).acquire();
    let (guard, ()) = tokio::join!(waiting, async {
        subject.pass(subject.units(8)).await;
        holder.release().await.unwrap();
    });
    let guard = guard.unwrap();
    let left = guard.held_until().unwrap().since(client.clock().now());
    assert!(left > ttl / 2, "only {left:?} of {ttl:?} are left after waiting");
}

/// A waiter makes an attempt when the lease of the holder ends.
pub async fn w1_an_expired_holder_is_succeeded_at_once(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    client.lock(&key).ttl(subject.units(2)).acquire().await.unwrap().forget();
    let started = subject.clock().now();
    if held(&*subject.lock(&key, subject.long())).await.is_none() {
        return; // without the remaining time, a waiter follows its retry strategy
    }
    let endless = Backoff::fixed(subject.units(30));
    let waiting = client.lock(&key).wait_at_most(subject.units(30)).retry(endless);
    drop(waiting.acquire().await.unwrap());
    let waited = elapsed(subject.clock(), started);
    assert!(waited < subject.units(20), "slept {waited:?} through an expiry");
}

/// Contended, timed out, cancelled and exhausted are distinct errors, each with its effort.
pub async fn w3_bl41_each_way_to_give_up_has_its_own_kind(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let _holder = client.lock(&key).acquire().await.unwrap();
    let kind = |error: Error| {
        assert!(error.effort().is_some_and(|effort| effort.attempts >= 1), "{error:?}");
        error.kind()
    };
    assert!(client.lock(&key).try_acquire().await.is_err_and(|e| e.is_contended()));
    let contended = client.lock(&key).no_wait().acquire().await.unwrap_err();
    assert!(contended.remaining().is_none_or(|left| left <= subject.long()));
    assert_eq!(kind(contended), ErrorKind::Contended);
    let exhausted = Backoff::fixed(Duration::from_millis(1)).max_retries(2);
    let exhausted = client.lock(&key).retry(exhausted).acquire().await.unwrap_err();
    assert!(exhausted.effort().unwrap().attempts >= 3, "{exhausted}");
    assert_eq!(kind(exhausted), ErrorKind::Contended);
    let timed_out = client.lock(&key).wait_at_most(subject.units(1)).acquire().await.unwrap_err();
    assert_eq!(kind(timed_out), ErrorKind::TimedOut);
    let token = CancellationToken::new();
    let waiting = client.lock(&key).wait_forever().cancelled_by(token.clone()).acquire();
    let (cancelled, ()) = tokio::join!(waiting, async {
        subject.pass(subject.units(1)).await;
        token.cancel();
    });
    assert_eq!(kind(cancelled.unwrap_err()), ErrorKind::Cancelled);
}

/// A backend that stays out of reach is reported as such, with its cause, in bounded time.
pub async fn w3_bl40_a_dead_backend_is_unavailable_not_contended(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    let cause = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let dead = Error::new(ErrorKind::Unavailable, "gone").with_source(cause);
    faults.next(Verb::TryAcquire, 100_000, Fault::Fail(dead.with_effect(Effect::NotApplied)));
    let client = builder.unavailable_after(subject.units(2)).build().unwrap();
    let started = subject.clock().now();
    let error = client.lock(subject.key("k")).wait_forever().acquire().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(error.source().unwrap().downcast_ref::<std::io::Error>().is_some());
    assert!(error.effort().unwrap().attempts > 1, "a dead backend is tried again");
    assert!(elapsed(subject.clock(), started) < subject.units(20));
    let error = client.lock(subject.key("k")).try_acquire().await.unwrap_err();
    assert!(error.is_unavailable() && error.effort().unwrap().attempts == 1, "{error}");
}

/// A backend that refuses this user ends the wait with its first answer.
pub async fn w3_bl19_a_refusing_backend_ends_the_wait_at_once(subject: &Subject) {
    for kind in
        [ErrorKind::Denied, ErrorKind::Misconfigured, ErrorKind::Foreign, ErrorKind::Corrupt]
    {
        let (client, faults) = subject.faulty_client();
        faults.next(Verb::TryAcquire, 1, Fault::Fail(Error::new(kind, "refused")));
        let error = client.lock(subject.key("k")).wait_forever().acquire().await.unwrap_err();
        assert_eq!((error.kind(), faults.count(Verb::TryAcquire)), (kind, 1));
    }
}

/// A failure that passes is not the end of an acquisition.
pub async fn w3_a_passing_failure_is_survived(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    faults.next(Verb::TryAcquire, 3, Fault::unavailable());
    let guard = client.lock(subject.key("k")).acquire().await.unwrap();
    guard.release().await.unwrap();
    assert_eq!(faults.count(Verb::TryAcquire), 4);
}

/// Two hundred waiters of one client cost the backend a first and a last attempt each, and in
/// between no more than one waiter.
pub async fn w2_bl42_200_waiters_do_not_flood_the_backend(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let (started, wait) = (subject.clock().now(), subject.units(4));
    let waiters: Vec<_> = (0..200)
        .map(|_| {
            let acquire = client.lock(&key).wait_at_most(wait).retry(Backoff::fixed(wait / 20));
            tokio::spawn(async move { acquire.acquire().await.map(drop) })
        })
        .collect();
    for waiter in waiters {
        assert!(waiter.await.unwrap().unwrap_err().is_timed_out());
    }
    let waits = elapsed(subject.clock(), started).as_secs_f64() / wait.as_secs_f64();
    let tries = faults.count(Verb::TryAcquire) as f64;
    // Where the deadlines are apart, a waiter may become the head for a moment before its own.
    assert!(tries <= 200.0 * (4.0 + waits), "{tries} requests in {waits:.1} waits");
    released(&*holder).await;
}

/// Waiters in line are served one after the other, and a strategy's patience passes in line as
/// well.
pub async fn w2_every_waiter_in_line_is_served_or_gives_up_as_it_wished(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let holder = client.lock(&key).acquire().await.unwrap();
    let patient: Vec<_> = (0..20)
        .map(|_| {
            let acquire = client.lock(&key).wait_forever();
            tokio::spawn(async move { acquire.run(|_| async {}).await })
        })
        .collect();
    let short = Backoff::fixed(subject.units(1) / 10).max_retries(3);
    let hasty = client.lock(&key).wait_forever().retry(short).acquire().await.unwrap_err();
    assert!(hasty.is_contended(), "{hasty}");
    holder.release().await.unwrap();
    for waiter in patient {
        waiter.await.unwrap().unwrap();
    }
}

/// When the backend dies, all waiters in line get the error at once, not one after the other.
pub async fn w3_a_dead_backend_is_reported_to_everybody_in_line(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    let client = builder.unavailable_after(subject.units(2)).build().unwrap();
    let key = subject.key("k");
    let _holder = subject.client().lock(&key).acquire().await.unwrap();
    let waiters: Vec<_> = (0..50)
        .map(|_| {
            let acquire = client.lock(&key).wait_forever();
            tokio::spawn(async move { acquire.acquire().await.map(drop) })
        })
        .collect();
    subject.until("one has tried", || faults.count(Verb::TryAcquire) >= 1).await;
    subject.pass(subject.units(1)).await; // the others stand behind
    faults.next(Verb::TryAcquire, 100_000, Fault::unavailable());
    let died = subject.clock().now();
    for waiter in waiters {
        assert!(waiter.await.unwrap().unwrap_err().is_unavailable());
    }
    assert!(elapsed(subject.clock(), died) < subject.units(12), "told one after the other");
}
