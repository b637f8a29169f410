//! F1, Q1: fencing tokens that can be raised, so that the nodes of a quorum agree on one.

use std::time::Duration;

use lock_core::backend::{Attempt, Renewal};
use lock_core::{Capability, Error, FencingToken};

use super::{grant, released};
use crate::Subject;
use crate::handle::Handle;

fn above(token: Option<FencingToken>, steps: u64) -> FencingToken {
    FencingToken::new(token.unwrap().as_u64() + steps).unwrap()
}

async fn granted_above(lock: &Handle, floor: FencingToken) -> Option<FencingToken> {
    match lock.floor().try_acquire_above(floor).await.unwrap() {
        Attempt::Granted(grant) => grant.fencing,
        other => panic!("expected a grant, got {other:?}"),
    }
}

/// A new grant has a token that is no smaller than the floor of its claim, and granting it again
/// changes nothing.
pub async fn f1_q1_a_grant_heeds_the_floor_of_its_claim(subject: &Subject) {
    if !subject.has(Capability::FencingFloor) {
        return;
    }
    let key = subject.key("k");
    let first = subject.lock(&key, subject.long());
    let floor = above(grant(&*first).await, 100_000); // a tenth of a second ahead
    released(&*first).await;
    let claim = subject.claim(&key, subject.long());
    let lock = subject.bind(claim.clone());
    let token = granted_above(&lock, floor).await;
    assert!(token >= Some(floor), "{token:?} is below {floor:?}");
    let higher = above(token, 100_000);
    let again = lock.another();
    assert_eq!(granted_above(&again, higher).await, token, "a floor is for new grants");
    released(&*lock).await;
    let next = grant(&*subject.lock(&key, subject.long())).await;
    assert!(next > token, "{next:?} after {token:?}");
}

/// The holder can raise its token. Later answers report the raised token, and the next grant gets a
/// larger one.
pub async fn f1_q1_a_holder_raises_its_token(subject: &Subject) {
    if !subject.has(Capability::FencingFloor) {
        return;
    }
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    let raised = above(grant(&*lock).await, 5_000);
    assert_eq!(lock.floor().raise(raised).await.unwrap(), Some(raised));
    assert_eq!(lock.floor().raise(raised).await.unwrap(), Some(raised), "the same again");
    let renewed = Renewal::renewed(Some(raised));
    assert_eq!(lock.renew(lock.claim().ttl()).await.unwrap(), renewed);
    assert_eq!(grant(&*lock).await, Some(raised));
    if subject.has(Capability::Inspect) {
        let holder = lock.inspect().await.unwrap().expect("a holder");
        assert_eq!(holder.fencing(), Some(raised));
    }
    released(&*lock).await;
    let next = grant(&*subject.lock(&key, subject.long())).await;
    assert!(next > Some(raised), "{next:?} after {raised:?}");
}

/// Raising neither lowers a token nor changes the remaining time.
pub async fn t2_q1_raising_changes_nothing_else(subject: &Subject) {
    if !subject.has(Capability::FencingFloor) {
        return;
    }
    let key = subject.key("k");
    let first = subject.lock(&key, subject.long());
    grant(&*first).await;
    released(&*first).await;
    let lock = subject.lock(&key, subject.units(2));
    let token = grant(&*lock).await;
    let smaller = FencingToken::new(1).unwrap();
    assert_eq!(lock.floor().raise(smaller).await.unwrap(), token);
    assert_eq!(grant(&*lock).await, token);
    subject.pass(subject.units(1)).await;
    lock.floor().raise(above(token, 7)).await.unwrap();
    // On a machine that stands still the lease may have ended even before.
    subject.pass(subject.units(1) + Duration::from_millis(5)).await;
    grant(&*subject.lock(&key, subject.long())).await;
}

/// A token that leaves no number for the next grant is refused and changes nothing.
pub async fn f1_q1_no_token_is_raised_beyond_the_largest(subject: &Subject) {
    if !subject.has(Capability::FencingFloor) {
        return;
    }
    let (key, other) = (subject.key("k"), subject.key("other"));
    let lock = subject.lock(&key, subject.long());
    let token = grant(&*lock).await;
    for beyond in [i64::MAX.unsigned_abs(), FencingToken::MAX_RAISE.as_u64() + 1] {
        let refused = lock.floor().raise(FencingToken::new(beyond).unwrap()).await;
        assert!(refused.as_ref().is_err_and(Error::is_invalid), "{refused:?}");
    }
    assert_eq!(grant(&*lock).await, token, "nothing was raised");
    released(&*lock).await;
    let next = grant(&*subject.lock(&key, subject.long())).await;
    assert!(next > token && next < Some(FencingToken::MAX_RAISE), "{next:?} after {token:?}");
    grant(&*subject.lock(&other, subject.long())).await;
}

/// Nobody else can raise a token, and an ended lease has none to raise.
pub async fn e3_q1_only_a_holder_can_raise(subject: &Subject) {
    if !subject.has(Capability::FencingFloor) {
        return;
    }
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.units(4));
    let token = grant(&*lock).await;
    let stranger = subject.lock(&key, subject.long());
    assert_eq!(stranger.floor().raise(above(token, 9)).await.unwrap(), None);
    assert_eq!(grant(&*lock).await, token, "a stranger has raised it");
    subject.expire(&key, subject.units(4)).await;
    assert_eq!(lock.floor().raise(above(token, 9)).await.unwrap(), None);
    grant(&*stranger).await;
    released(&*stranger).await;
    assert_eq!(stranger.floor().raise(above(token, 9)).await.unwrap(), None);
}
