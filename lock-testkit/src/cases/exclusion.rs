//! E1 exclusion, E2 same owner.

use std::sync::Arc;
use std::time::Duration;

use lock_core::{Attempt, Capability, Claim, Metadata, OwnerToken, Ttl};

use super::{grant, held, released};
use crate::{History, Subject};

/// Of two owners of one key, the first is granted and the second is told how long to wait at most.
pub async fn e1_one_of_two_owners_is_granted(subject: &Subject) {
    let key = subject.key("k");
    let (first, second) = (subject.lock(&key, subject.long()), subject.lock(&key, subject.long()));
    grant(&*first).await;
    let remaining = held(&*second).await;
    assert!(remaining.is_none_or(|left| left <= subject.long()), "{remaining:?}");
    held(&*second).await;
}

/// Of 64 owners that try at the same time, exactly one is granted.
pub async fn e1_l35_one_of_64_racing_owners_is_granted(subject: &Subject) {
    let key = subject.key("k");
    let racers: Vec<_> = (0..64)
        .map(|_| {
            let lock = subject.lock(&key, subject.long());
            tokio::spawn(async move { lock.try_acquire().await.unwrap() })
        })
        .collect();
    let mut grants = 0;
    for racer in racers {
        grants += usize::from(matches!(racer.await.unwrap(), Attempt::Granted { .. }));
    }
    assert_eq!(grants, 1);
}

/// A released key is granted to the next owner, ten times in a row.
pub async fn e1_a_released_key_is_granted_to_others(subject: &Subject) {
    let key = subject.key("k");
    for _ in 0..10 {
        let lock = subject.lock(&key, subject.long());
        grant(&*lock).await;
        released(&*lock).await;
    }
}

/// Holding one key says nothing about another.
pub async fn e1_keys_are_independent(subject: &Subject) {
    let one = subject.lock(&subject.key("one"), subject.long());
    let two = subject.lock(&subject.key("two"), subject.long());
    grant(&*one).await;
    grant(&*two).await;
    released(&*one).await;
    held(&*subject.lock(&subject.key("two"), subject.long())).await;
}

/// Sixteen workers that take turns never hold the key together, and each turn's token is larger.
pub async fn e1_f1_holds_of_16_workers_never_overlap_and_their_tokens_grow(subject: &Subject) {
    let key = subject.key("k");
    let (client, history) = (subject.client(), Arc::new(History::new()));
    let workers: Vec<_> = (0..16)
        .map(|_| {
            let (client, history, key) = (client.clone(), Arc::clone(&history), key.clone());
            tokio::spawn(async move {
                for _ in 0..8 {
                    let guard = client.lock(&key).wait_forever().acquire().await.unwrap();
                    let from = client.clock().now();
                    tokio::task::yield_now().await;
                    history.held(&key, from, client.clock().now(), guard.fencing_token());
                    guard.release().await.unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    history.check().unwrap();
    assert_eq!(history.len(), 16 * 8);
}

/// An owner that asks again for what it holds gets the same answer, so a request can be repeated.
pub async fn e2_the_same_owner_is_granted_again_with_the_same_token(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    let first = grant(&*lock).await;
    assert_eq!(grant(&*lock).await, first);
    let same_owner = subject.provider().lock(lock.claim().clone());
    assert_eq!(grant(&*same_owner).await, first);
    released(&*lock).await;
}

/// Asking again gives the whole ttl again.
pub async fn e2_granting_again_resets_the_ttl(subject: &Subject) {
    let key = subject.key("k");
    let owner = OwnerToken::mint().unwrap();
    let claim = |ttl: Duration| Claim::new(key.clone(), owner, Ttl::new(ttl).unwrap());
    grant(&*subject.provider().lock(claim(subject.units(1)))).await;
    grant(&*subject.provider().lock(claim(subject.long()))).await;
    subject.pass(subject.units(2)).await;
    held(&*subject.lock(&key, subject.long())).await;
}

/// However metadata looks, it cannot make one owner pass for another.
pub async fn l4_metadata_cannot_pass_for_an_owner(subject: &Subject) {
    if !subject.has(Capability::Metadata) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.claim(&key, subject.long());
    let note = Metadata::new(holder.owner().expose()).unwrap();
    let doubled = subject.provider().lock(holder.clone().with_metadata(note.clone()));
    grant(&*doubled).await;
    let posing = subject.claim(&key, subject.long()).with_metadata(note);
    held(&*subject.provider().lock(posing)).await;
    // The holder is known by its token, with or without the note.
    grant(&*subject.provider().lock(holder)).await;
}
