//! The hand-over of a key: a release and an acquisition in one atomic step.

use std::sync::Arc;

use lock_core::backend::{Attempt, Release, Renewal, Transfer, Ttl};
use lock_core::{
    Backoff, Capability, Error, ErrorKind, FencingToken, LockClient, LockGuard, LockKey, Metadata,
};
use lock_memory::{Fault, Faults, Verb};
use tokio::task::JoinHandle;

use super::{grant, held, is_renewed, queued, released};
use crate::Subject;
use crate::handle::Handle;

async fn handed(lock: &Handle, next: &Handle) -> (Option<FencingToken>, bool) {
    match lock.hand_over().hand_over(next.claim()).await.unwrap() {
        Transfer::Granted { grant, others } => (grant.fencing, others),
        other => panic!("expected that the key was passed on, got {other:?}"),
    }
}

/// Clients hand over where waiters take turns, which takes a queue.
fn clients_hand_over(subject: &Subject) -> bool {
    subject.has(Capability::HandOver) && subject.has(Capability::Queue)
}

fn pair(subject: &Subject, key: &LockKey) -> [Handle; 2] {
    [(); 2].map(|()| subject.lock(key, subject.long()))
}

/// The next owner has the key, with a larger token and its own ttl and note; the last one has
/// nothing, and nobody else had a chance.
pub async fn e1_f1_a_handover_gives_the_next_owner_its_whole_claim(subject: &Subject) {
    if !subject.has(Capability::HandOver) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    let first = grant(&*holder).await;
    let note = match subject.has(Capability::Metadata) {
        true => Metadata::new("handed over").unwrap(),
        false => Metadata::default(),
    };
    let ttl = subject.units(30);
    let next = subject.bind(subject.claim(&key, ttl).with_metadata(note.clone()));
    let (second, others) = handed(&holder, &next).await;
    assert!(!others, "nobody else waits");
    assert_eq!(second.is_some(), subject.has(Capability::Fencing));
    assert!(!subject.has(Capability::Fencing) || second > first, "{second:?} after {first:?}");
    held(&*subject.lock(&key, subject.long())).await;
    assert!(!is_renewed(&holder).await);
    if subject.has(Capability::Inspect) {
        let seen = next.inspect().await.unwrap().expect("a holder");
        assert_eq!(seen.owner(), next.claim().owner_token().fingerprint());
        assert_eq!(seen.metadata(), &note);
        assert_eq!(seen.fencing(), second);
        let left = seen.remaining();
        assert!(left.is_none_or(|left| left <= ttl && left > ttl / 2), "{left:?} of {ttl:?} left");
    }
    assert_eq!(grant(&*next).await, second, "the same grant again (law E2)");
    released(&*next).await;
    let third = grant(&*subject.lock(&key, subject.long())).await;
    assert!(!subject.has(Capability::Fencing) || third > second, "{third:?} after {second:?}");
}

/// Only the holder can hand a key on. Another owner that tries it changes nothing, and is undone
/// (law U1).
pub async fn e3_u1_a_stranger_can_hand_nothing_over(subject: &Subject) {
    if !subject.has(Capability::HandOver) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    let fencing = grant(&*holder).await;
    let [stranger, friend] = pair(subject, &key);
    assert_eq!(stranger.hand_over().hand_over(friend.claim()).await.unwrap(), Transfer::NotHeld);
    held(&*friend).await;
    assert_eq!(grant(&*holder).await, fencing);
    released(&*holder).await;
    assert_eq!(stranger.try_acquire().await.unwrap(), Attempt::Undone);
    grant(&*friend).await;
}

/// A lease that has ended cannot be passed on, not even to an owner that could have the key.
pub async fn t1_e3_an_ended_lease_is_not_handed_over(subject: &Subject) {
    if !subject.has(Capability::HandOver) {
        return;
    }
    let key = subject.key("k");
    let ttl = subject.units(1);
    let late = subject.lock(&key, ttl);
    grant(&*late).await;
    subject.expire(&key, ttl).await;
    let [next, other] = pair(subject, &key);
    assert_eq!(late.hand_over().hand_over(next.claim()).await.unwrap(), Transfer::NotHeld);
    grant(&*other).await;
    held(&*next).await;
}

/// A key that was released meanwhile stays with its successor.
pub async fn e3_e4_a_late_handover_touches_no_successor(subject: &Subject) {
    if !subject.has(Capability::HandOver) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    released(&*holder).await;
    let [next, successor] = pair(subject, &key);
    let fencing = grant(&*successor).await;
    assert_eq!(holder.hand_over().hand_over(next.claim()).await.unwrap(), Transfer::NotHeld);
    assert_eq!(grant(&*successor).await, fencing);
    held(&*next).await;
}

/// An owner that was undone gets nothing, but the key is given back.
pub async fn u1_a_key_is_not_handed_over_to_an_undone_owner(subject: &Subject) {
    if !subject.has(Capability::HandOver) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let next = subject.lock(&key, subject.long());
    assert_eq!(next.release().await.unwrap(), Release::NotHeld);
    assert_eq!(holder.hand_over().hand_over(next.claim()).await.unwrap(), Transfer::Refused);
    assert_eq!(next.try_acquire().await.unwrap(), Attempt::Undone);
    grant(&*subject.lock(&key, subject.long())).await;
}

/// Sent again, it is answered again, and mints nothing.
pub async fn e2_f1_a_repeated_handover_is_one_grant(subject: &Subject) {
    if !subject.has(Capability::HandOver) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let next = subject.lock(&key, subject.long());
    let first = handed(&holder, &next).await;
    assert_eq!(handed(&holder, &next).await, first);
    let copies: Vec<_> = (0..16)
        .map(|_| {
            let (holder, next) = (holder.clone(), next.clone());
            tokio::spawn(async move { handed(&holder, &next).await })
        })
        .collect();
    for copy in copies {
        assert_eq!(copy.await.unwrap(), first);
    }
    assert_eq!(grant(&*next).await, first.0);
}

/// A copy of a hand-over that arrives after the new holder has renewed its lease cuts nothing
/// short.
pub async fn e2_a_late_handover_cuts_no_lease_short(subject: &Subject) {
    if !subject.has(Capability::HandOver) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let next = subject.lock(&key, subject.units(2));
    let first = handed(&holder, &next).await;
    let longer = Ttl::new(subject.long()).unwrap();
    assert!(matches!(next.renew(longer).await.unwrap(), Renewal::Renewed(_)));
    assert_eq!(handed(&holder, &next).await, first);
    subject.pass(subject.units(3)).await;
    held(&*subject.lock(&key, subject.long())).await;
}

/// While a key is handed from owner to owner, every other attempt is refused.
pub async fn e1_a_key_is_never_free_during_a_handover(subject: &Subject) {
    if !subject.has(Capability::HandOver) {
        return;
    }
    let key = subject.key("k");
    let mut holder = subject.lock(&key, subject.long());
    let mut last = grant(&*holder).await;
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let others: Vec<_> = (0..4)
        .map(|_| {
            let (done, other) = (Arc::clone(&done), subject.lock(&key, subject.long()));
            tokio::spawn(async move {
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    held(&*other).await;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    for _ in 0..100 {
        let next = subject.lock(&key, subject.long());
        let (fencing, _) = handed(&holder, &next).await;
        assert!(!subject.has(Capability::Fencing) || fencing > last, "{fencing:?} after {last:?}");
        (holder, last) = (next, fencing);
        tokio::task::yield_now().await;
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    for other in others {
        other.await.unwrap();
    }
}

/// Waiters in the queue of the store are passed over, and the answer reports them. The next owner
/// leaves the queue.
pub async fn m3_a_handover_passes_over_the_queue_and_reports_that_others_wait(subject: &Subject) {
    if !subject.has(Capability::HandOver) || !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let [other, next] = pair(subject, &key);
    let _next_waits = next.queue().subscribe().await.unwrap();
    queued(&next).await;
    let (_, others) = handed(&holder, &next).await;
    assert!(!others, "it is in nobody's way but its own");
    let _other_waits = other.queue().subscribe().await.unwrap();
    queued(&other).await;
    let last = subject.lock(&key, subject.long());
    let (_, others) = handed(&next, &last).await;
    assert!(others, "one waits in the queue");
    released(&*last).await;
    assert!(is_renewed(&other).await, "the next in the queue has the key");
    released(&*other).await;
    grant(&*subject.lock(&key, subject.long())).await;
}

/// A waiter that has been refused, and stands in line.
async fn waiting(
    subject: &Subject,
    client: &LockClient,
    faults: &Faults,
    key: &LockKey,
) -> JoinHandle<lock_core::Result<LockGuard>> {
    faults.forget_calls();
    let waiter = tokio::spawn(client.lock(key).acquire());
    // It tries once more after it has begun to listen, and then does nothing but wait.
    let settled = || {
        let calls = faults.calls();
        let mut answered = calls.iter().filter(|call| call.answer.is_some());
        let listens =
            !subject.has(Capability::Hints) || answered.any(|call| call.verb == Verb::Subscribe);
        listens && answered.any(|call| call.verb == Verb::TryAcquire)
    };
    subject.until("it waits", settled).await;
    waiter
}

/// A release in a client with a waiter is the waiter's acquisition as well: one request for both.
pub async fn w2_a_release_serves_the_next_waiter_in_one_request(subject: &Subject) {
    if !clients_hand_over(subject) {
        return;
    }
    let (builder, faults) = subject.faulty_builder();
    // An attempt of its own at the same moment would be a second way to the key.
    let client = builder.retry(Backoff::fixed(subject.units(40))).build().unwrap();
    let key = subject.key("k");
    let mut guard = client.lock(&key).acquire().await.unwrap();
    for _ in 0..5 {
        let waiter = waiting(subject, &client, &faults, &key).await;
        faults.forget_calls();
        guard.release().await.unwrap();
        guard = waiter.await.unwrap().unwrap();
        let calls = faults.calls();
        let sent = |verb| calls.iter().filter(|call| call.verb == verb).count();
        assert_eq!(sent(Verb::HandOver), 1, "{calls:?}");
        assert_eq!(sent(Verb::Release) + sent(Verb::Subscribe), 0, "{calls:?}");
    }
    guard.release().await.unwrap();
}

/// A hand-over whose answer is lost, or that never arrives, costs neither side more than a retry.
pub async fn u1_g4_a_handover_that_goes_wrong_serves_the_waiter_all_the_same(subject: &Subject) {
    if !clients_hand_over(subject) {
        return;
    }
    for fault in [Fault::LoseAnswer, Fault::unavailable(), Fault::Panic] {
        let (client, faults) = subject.faulty_client();
        let key = subject.key(&format!("{fault:?}").replace(|c: char| !c.is_alphanumeric(), ""));
        let guard = client.lock(&key).acquire().await.unwrap();
        let waiter = waiting(subject, &client, &faults, &key).await;
        faults.next(Verb::HandOver, 1, fault);
        drop(guard.release().await); // a failed one goes on in the background
        let guard = waiter.await.unwrap().unwrap();
        assert!(guard.is_held());
        guard.release().await.unwrap();
        subject.until_free(&key, subject.units(10)).await;
    }
}

/// A client whose user may not hand over releases, and its waiter is served all the same.
pub async fn w3_a_release_that_may_not_hand_over_is_a_plain_one(subject: &Subject) {
    if !clients_hand_over(subject) {
        return;
    }
    let (client, faults) = subject.faulty_client();
    let key = subject.key("k");
    let guard = client.lock(&key).acquire().await.unwrap();
    let waiter = waiting(subject, &client, &faults, &key).await;
    let denied = Error::new(ErrorKind::Denied, "injected: no right to hand over");
    faults.always(Verb::HandOver, Fault::Fail(denied));
    guard.release().await.unwrap();
    waiter.await.unwrap().unwrap().release().await.unwrap();
    assert_eq!(faults.count(Verb::HandOver), 1, "it would be refused again");
}

/// A waiter that is cancelled while it is handed the key leaves it to others.
pub async fn u1_g5_a_waiter_cancelled_during_a_handover_leaves_the_key_free(subject: &Subject) {
    if !clients_hand_over(subject) {
        return;
    }
    for fault in [Fault::DelayAnswer(subject.units(1)), Fault::Late(subject.units(1))] {
        let (builder, faults) = subject.faulty_builder();
        let client = builder.request_timeout(subject.units(3)).build().unwrap();
        let key = subject.key(&format!("{fault:?}").replace(|c: char| !c.is_alphanumeric(), ""));
        let guard = client.lock(&key).acquire().await.unwrap();
        let waiter = waiting(subject, &client, &faults, &key).await;
        faults.next(Verb::HandOver, 1, fault);
        let release = tokio::spawn(guard.release());
        subject.until("it is under way", || faults.count(Verb::HandOver) == 1).await;
        waiter.abort();
        // Unless it has found out by itself.
        drop(waiter.await.ok().map(Result::unwrap));
        drop(release.await.unwrap());
        subject.until_free(&key, subject.units(10)).await;
    }
}
