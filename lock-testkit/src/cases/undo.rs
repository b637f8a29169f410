//! U1 undo.

use std::time::Duration;

use lock_core::backend::{Attempt, Release};

use super::{elapsed, grant, held, released};
use crate::Subject;

/// A request that arrives after its own undo is refused for the lifetime of a tombstone, even if
/// others have held the key since.
pub async fn u1_an_undone_owner_can_never_acquire(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    let before = subject.clock().now();
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    for _ in 0..3 {
        assert_eq!(lock.try_acquire().await.unwrap(), Attempt::Undone);
    }
    let other = subject.lock(&key, subject.long());
    grant(&*other).await;
    released(&*other).await;
    assert_eq!(lock.try_acquire().await.unwrap(), Attempt::Undone);
    let almost = Release::TOMBSTONE - Duration::from_secs(1);
    subject.pass(if subject.is_virtual() { almost } else { subject.units(2) }).await;
    let answer = lock.try_acquire().await.unwrap();
    let waited = elapsed(subject.clock(), before);
    assert!(
        answer == Attempt::Undone || waited > Release::TOMBSTONE,
        "{answer:?} after {waited:?}"
    );
}

/// An acquisition that took effect is undone by its owner token alone.
pub async fn u1_undoing_a_grant_frees_the_key(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    grant(&*lock).await;
    let another_handle = subject.bind(lock.claim().clone());
    released(&*another_handle).await;
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    assert_eq!(lock.try_acquire().await.unwrap(), Attempt::Undone);
    grant(&*subject.lock(&key, subject.long())).await;
}

/// An acquisition and its undo that are in flight together leave nothing, in either order.
pub async fn u1_bl18_an_undo_that_races_its_acquisition_frees_the_key(subject: &Subject) {
    for round in 0..50 {
        let key = subject.key(&format!("k{round}"));
        let lock = subject.lock(&key, subject.long());
        let undoing = lock.clone();
        let acquiring = tokio::spawn(async move { lock.try_acquire().await.unwrap() });
        let undone = tokio::spawn(async move { undoing.release().await.unwrap() });
        match (acquiring.await.unwrap(), undone.await.unwrap()) {
            (Attempt::Granted(_), Release::Released) => {}
            (Attempt::Undone, Release::NotHeld) => {}
            answers => panic!("in neither order: {answers:?}"),
        }
        grant(&*subject.lock(&key, subject.long())).await;
    }
}

/// An undo of one owner stops no other from acquiring, and takes nothing from a holder.
pub async fn u1_an_undo_touches_no_other_owner(subject: &Subject) {
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let undone: Vec<_> = (0..5).map(|_| subject.lock(&key, subject.long())).collect();
    for lock in &undone {
        assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    }
    held(&*subject.lock(&key, subject.long())).await;
    released(&*holder).await;
    for lock in &undone {
        assert_eq!(lock.try_acquire().await.unwrap(), Attempt::Undone);
    }
    grant(&*subject.lock(&key, subject.long())).await;
}

/// A release that is repeated after its answer was lost does not touch the next holder.
pub async fn u1_bl14_a_release_that_is_repeated_spares_the_next_holder(subject: &Subject) {
    let key = subject.key("k");
    let first = subject.lock(&key, subject.long());
    grant(&*first).await;
    released(&*first).await;
    let next = subject.lock(&key, subject.long());
    let token = grant(&*next).await;
    assert_eq!(first.release().await.unwrap(), Release::NotHeld);
    assert_eq!(grant(&*next).await, token, "the next holder still holds");
}
