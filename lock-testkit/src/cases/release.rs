//! G4 release, G5 nothing leaks, U1 undo from the client's side.

use lock_core::OwnerToken;
use lock_core::backend::{Claim, Release, Ttl};
use lock_memory::{Fault, Verb};

use super::{elapsed, grant, polled, released};
use crate::Subject;

/// A release that fails gives the guard back; it is no longer held, and can be released again.
pub async fn g4_bl15_a_failed_release_hands_the_guard_back(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let guard = client.lock(&key).acquire().await.unwrap();
    faults.next(Verb::Release, 1, Fault::unavailable());
    let failed = guard.release_or_keep().await.unwrap_err();
    assert!(failed.error().is_unavailable());
    assert!(failed.to_string().contains(key.as_str()), "{failed}");
    let guard = failed.into_guard().expect("not lost");
    assert!(!guard.is_held(), "given back, as far as this side is concerned");
    assert!(guard.lost().await.is_none(), "and not lost");
    guard.release().await.unwrap();
    grant(&*subject.lock(&key, subject.long())).await;
}

/// A release whose caller goes away reaches the backend all the same.
pub async fn g4_bl16_a_cancelled_release_goes_on(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    for polls in 0..4 {
        let key = subject.key(&format!("k{polls}"));
        let guard = client.lock(&key).acquire().await.unwrap();
        faults.next(Verb::Release, 1, Fault::Late(subject.units(1)));
        polled(polls, guard.release()).await;
        faults.clear();
        subject.until_free(&key, subject.units(20)).await;
    }
    // The same while the release still waits for a renewal to get out of its way.
    for polls in 1..4 {
        let key = subject.key(&format!("renewed {polls}"));
        let acquire = client.lock(&key).renew_every(subject.units(1) / 50);
        faults.next(Verb::Renew, 1_000, Fault::DelayAnswer(subject.units(1)));
        let guard = acquire.acquire().await.unwrap();
        let before = faults.count(Verb::Renew);
        subject.until("a renewal is under way", || faults.count(Verb::Renew) > before).await;
        polled(polls, guard.release()).await;
        faults.clear();
        subject.until_free(&key, subject.units(20)).await;
    }
}

/// Once a release has begun, no renewal is sent, and one in flight brings nothing back.
pub async fn g4_bw5_nothing_is_sent_after_a_release(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    for round in 0..50 {
        let key = subject.key(&format!("k{round}"));
        let acquire = client.lock(&key).ttl(subject.units(12));
        let guard = acquire.renew_every(subject.units(1) / 50).acquire().await.unwrap();
        if round % 2 == 0 {
            faults.next(Verb::Renew, 1, Fault::DelayAnswer(subject.units(1)));
        }
        subject.pass(subject.units(1) / 50).await;
        let asked = subject.clock().now();
        guard.release().await.unwrap();
        let took = elapsed(subject.clock(), asked);
        assert!(!subject.is_virtual() || took < subject.units(1) / 50, "waited for a renewal");
        faults.clear();
        subject.pass(subject.units(1) / 20).await;
        let calls = faults.calls();
        let of_key: Vec<_> = calls.iter().filter(|call| call.key == key).collect();
        assert_eq!(of_key.last().map(|call| call.verb), Some(Verb::Release), "{of_key:?}");
        grant(&*subject.lock(&key, subject.long())).await;
    }
    assert!(faults.count(Verb::Renew) > 0, "no release met a renewal");
}

/// A release whose answer is lost can be repeated without touching the next holder.
pub async fn g4_bl14_a_release_whose_answer_is_lost_can_be_repeated(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let guard = client.lock(&key).acquire().await.unwrap();
    faults.next(Verb::Release, 1, Fault::LoseAnswer);
    let guard = guard.release_or_keep().await.unwrap_err().into_guard().expect("not lost");
    let next = subject.lock(&key, subject.long());
    let token = grant(&*next).await;
    guard.release().await.expect("the request without an answer has freed the key");
    assert_eq!(grant(&*next).await, token);
}

/// A release reports a loss that nobody had noticed, hands no guard back, and touches no successor.
pub async fn g4_releasing_a_lock_whose_lease_has_ended_says_lost(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let ttl = subject.units(2);
    let guard = client.lock(&key).ttl(ttl).acquire().await.unwrap();
    subject.pass(ttl).await;
    subject.until_free(&key, subject.units(20)).await;
    let next = subject.lock(&key, subject.long());
    let token = grant(&*next).await;
    let failed = guard.release_or_keep().await.unwrap_err();
    assert!(failed.is_lost() && failed.to_string().contains(key.as_str()), "{failed}");
    assert!(failed.into_guard().is_none(), "there is nothing left to release");
    assert_eq!(grant(&*next).await, token);
}

/// A release reports a loss that was noticed before, whatever the backend answers to it.
pub async fn g4_releasing_a_lock_whose_loss_was_noticed_says_lost(subject: &Subject) {
    for fault in [None, Some(Fault::unavailable()), Some(Fault::LoseAnswer)] {
        let (client, faults) = subject.faulty_client();
        let key = subject.key("k");
        // The limit is over long before the lease, so the backend still has the lock.
        let acquire = client.lock(&key).ttl(subject.long()).max_hold(subject.units(1));
        let guard = acquire.acquire().await.unwrap();
        assert!(guard.lost().await.is_some());
        fault.into_iter().for_each(|fault| faults.next(Verb::Release, 1, fault));
        let failed = guard.release_or_keep().await.unwrap_err();
        assert!(failed.is_lost(), "{failed}");
        assert!(failed.into_guard().is_none());
        // Whatever the first request did, the key is freed in the background.
        subject.until_free(&key, subject.units(20)).await;
    }
}

/// After an unanswered request, "not held" is a success only if that request left in time. After
/// the end of the lease another owner may have held the key.
pub async fn g4_a_release_after_the_deadline_is_not_excused_by_a_lost_answer(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let ttl = subject.units(2);
    let guard = client.lock(&key).ttl(ttl).acquire().await.unwrap();
    subject.pass(ttl).await;
    subject.until_free(&key, subject.units(20)).await;
    faults.next(Verb::Release, 1, Fault::LoseAnswer);
    let failed = guard.release_or_keep().await.unwrap_err();
    assert!(failed.error().is_unavailable(), "{failed}");
    let guard = failed.into_guard().expect("nothing is known yet");
    assert!(guard.release().await.unwrap_err().is_lost());
}

/// A release whose first request finds nothing to release reports a loss, unless the driver may
/// have sent that request twice.
pub async fn g4_releasing_what_another_has_released_says_lost(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let guard = client.lock(&key).acquire().await.unwrap();
    let claim = Claim::new(key, *guard.owner_token(), Ttl::new(subject.long()).unwrap());
    released(&*subject.bind(claim)).await;
    let outcome = guard.release().await;
    let resent = subject.provider().info().may_resend();
    assert_eq!(outcome.is_ok(), resent, "{outcome:?}");
    assert!(outcome.err().is_none_or(|failed| failed.is_lost()));
}

/// `run` has no result when its release finds that the lock had been lost.
pub async fn g4_run_has_no_result_when_the_release_finds_a_loss(subject: &Subject) {
    if subject.provider().info().may_resend() {
        return; // the same answer proves nothing there
    }
    let (client, key) = (subject.client(), subject.key("k"));
    let running = client.lock(&key).ttl(subject.long()).run(async |lease| {
        let ttl = Ttl::new(subject.long()).unwrap();
        let claim = Claim::new(lease.key().clone(), *lease.owner_token(), ttl);
        released(&*subject.bind(claim)).await;
        assert!(lease.is_held(), "nobody has noticed");
    });
    assert!(running.await.unwrap_err().is_lost());
}

/// A dropped guard frees the key, and its lock is no longer renewed.
pub async fn g5_bw10_a_dropped_guard_frees_the_key(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let acquire = client.lock(&key).renew_every(subject.units(1) / 10);
    let guard = acquire.acquire().await.unwrap();
    faults.next(Verb::Release, 1, Fault::unavailable());
    drop(guard);
    // The first release fails, so this also shows that it is tried again.
    subject.until_free(&key, subject.units(20)).await;
    let renewals = faults.count(Verb::Renew);
    subject.pass(subject.units(1)).await;
    assert_eq!(faults.count(Verb::Renew), renewals);
}

/// A guard that is dropped on a thread without a runtime frees the key as well.
pub async fn g5_a_guard_dropped_off_the_runtime_frees_the_key(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let guard = client.lock(&key).acquire().await.unwrap();
    std::thread::spawn(move || drop(guard)).join().expect("dropping does not panic");
    subject.until_free(&key, subject.units(20)).await;
}

/// An acquisition that took effect without an answer is repeated by the same call and succeeds.
pub async fn u1_bl17_an_acquisition_whose_answer_is_lost_is_repeated(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    faults.next(Verb::TryAcquire, 2, Fault::LoseAnswer);
    let guard = client.lock(&key).acquire().await.unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
    grant(&*subject.lock(&key, subject.long())).await;
}

/// An acquisition that gives up after a lost answer leaves nothing locked.
pub async fn u1_bl17_an_acquisition_that_gives_up_after_a_lost_answer_is_undone(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    faults.next(Verb::TryAcquire, 1, Fault::LoseAnswer);
    assert!(client.lock(&key).try_acquire().await.unwrap_err().is_unavailable());
    subject.until_free(&key, subject.units(20)).await;
}

/// A request that takes effect after its caller has gone, and after its undo, takes nothing.
pub async fn u1_bl18_a_late_request_of_a_cancelled_acquisition_takes_nothing(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    let client = builder.request_timeout(subject.units(1)).build().unwrap();
    let key = subject.key("k");
    faults.next(Verb::TryAcquire, 1, Fault::Late(subject.units(4)));
    assert!(client.lock(&key).try_acquire().await.unwrap_err().is_unavailable());
    subject.until("the undo was sent", || faults.count(Verb::Release) >= 1).await;
    // The late request arrives in here. The present holder keeps the key.
    let holder = client.lock(&key).ttl(subject.long()).acquire().await.unwrap();
    holder.release().await.unwrap();
    subject.pass(subject.units(6)).await;
    grant(&*subject.lock(&key, subject.long())).await;
}

/// A copy of a request that arrives when the lock was acquired by a later copy, and released, takes
/// nothing.
pub async fn u1_bl18_a_late_copy_of_a_finished_acquisition_takes_nothing(subject: &Subject) {
    let (builder, faults) = subject.faulty_builder();
    let client = builder.request_timeout(subject.units(2)).build().unwrap();
    let key = subject.key("k");
    faults.next(Verb::TryAcquire, 1, Fault::Late(subject.units(5)));
    let guard = client.lock(&key).ttl(subject.long()).acquire().await.unwrap();
    guard.release().await.unwrap();
    // The late copy arrives in here.
    subject.pass(subject.units(8)).await;
    grant(&*subject.lock(&key, subject.long())).await;
}

/// An owner token that was released without holding is refused at once, not waited for.
pub async fn u1_an_owner_token_that_was_undone_is_refused(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let (key, token) = (subject.key("k"), OwnerToken::mint().unwrap());
    let claim = Claim::new(key.clone(), token, Ttl::new(subject.long()).unwrap());
    assert_eq!(subject.bind(claim).release().await.unwrap(), Release::NotHeld);
    let error = client.lock(&key).owner_token(token).acquire().await.unwrap_err();
    assert!(error.is_invalid(), "{error}");
    assert_eq!(faults.count(Verb::TryAcquire), 1);
}

/// Wherever an acquisition is dropped, the key is free soon after, long before its ttl.
pub async fn g5_bl18_an_acquisition_dropped_at_any_point_frees_the_key(subject: &Subject) {
    let client = subject.client();
    for polls in 0..6 {
        for round in 0..10 {
            let key = subject.key(&format!("k{polls}.{round}"));
            polled(polls, client.lock(&key).ttl(subject.long()).acquire()).await;
            subject.until_free(&key, subject.units(20)).await;
        }
    }
    // The same when the request has taken effect and its answer is on its way.
    let (slow, faults) = subject.faulty_client();
    for polls in 1..4 {
        let key = subject.key(&format!("slow {polls}"));
        faults.next(Verb::TryAcquire, 1, Fault::DelayAnswer(subject.units(1)));
        tokio::select! {
            biased;
            guard = slow.lock(&key).ttl(subject.long()).acquire() => drop(guard),
            () = subject.pass(subject.units(polls) / 8) => {}
        }
        subject.until_free(&key, subject.units(20)).await;
    }
    // The same while it waits for another holder.
    for polls in 0..10 {
        let key = subject.key(&format!("waiting {polls}"));
        let holder = client.lock(&key).ttl(subject.long()).acquire().await.unwrap();
        polled(polls, client.lock(&key).ttl(subject.long()).acquire()).await;
        holder.release().await.unwrap();
        subject.until_free(&key, subject.units(20)).await;
    }
}
