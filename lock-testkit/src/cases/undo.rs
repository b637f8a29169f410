//! U1 undo.

use lock_core::{Attempt, Release};

use super::{grant, held, released};
use crate::Subject;

/// A request that arrives after its own undo is refused.
pub async fn u1_an_undone_owner_can_never_acquire(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    for _ in 0..3 {
        assert_eq!(lock.try_acquire().await.unwrap(), Attempt::Undone);
    }
    grant(&*subject.lock(&key, subject.long())).await;
}

/// An acquisition that took effect is undone by its owner token alone.
pub async fn u1_undoing_a_grant_frees_the_key(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    grant(&*lock).await;
    let another_handle = subject.provider().lock(lock.claim().clone());
    released(&*another_handle).await;
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    assert_eq!(lock.try_acquire().await.unwrap(), Attempt::Undone);
    grant(&*subject.lock(&key, subject.long())).await;
}

/// An undo of one owner stops no other from acquiring, and takes nothing from a holder.
pub async fn u1_an_undo_touches_no_other_owner(subject: &Subject) {
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    for _ in 0..5 {
        let undone = subject.lock(&key, subject.long());
        assert_eq!(undone.release().await.unwrap(), Release::NotHeld);
    }
    held(&*subject.lock(&key, subject.long())).await;
    released(&*holder).await;
    grant(&*subject.lock(&key, subject.long())).await;
}

/// A release that is sent again after its answer was lost does not touch who came in between.
pub async fn u1_l14_a_release_that_is_repeated_spares_the_next_holder(subject: &Subject) {
    let key = subject.key("k");
    let first = subject.lock(&key, subject.long());
    grant(&*first).await;
    released(&*first).await;
    let next = subject.lock(&key, subject.long());
    let token = grant(&*next).await;
    assert_eq!(first.release().await.unwrap(), Release::NotHeld);
    assert_eq!(grant(&*next).await, token, "the next holder still holds");
}
