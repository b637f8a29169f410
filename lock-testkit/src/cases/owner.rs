//! E3 owner only, E4 fresh identity.

use std::collections::HashSet;

use lock_core::backend::{Attempt, Claim, Release, Renewal, Transfer, Ttl};
use lock_core::{Capability, FencingToken, OwnerToken};

use super::{grant, held, is_renewed, released, succeed};
use crate::Subject;

/// A renewal and a release by a stranger change nothing, not even the ttl, and report that.
pub async fn e3_bl2_a_stranger_can_neither_renew_nor_release(subject: &Subject) {
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.units(10));
    grant(&*holder).await;
    let stranger = subject.lock(&key, subject.long());
    assert!(!is_renewed(&stranger).await);
    assert_eq!(stranger.release().await.unwrap(), Release::NotHeld);
    if subject.has(Capability::Inspect) {
        let found = stranger.inspect().await.unwrap().expect("a holder");
        assert_eq!(found.owner(), holder.claim().owner_token().fingerprint());
        assert!(found.remaining().is_none_or(|left| left <= subject.units(10)));
    }
    let left = held(&*subject.lock(&key, subject.long())).await;
    assert!(left.is_none_or(|left| left <= subject.units(10)), "{left:?}");
    assert!(is_renewed(&holder).await);
    released(&*holder).await;
}

/// Owners whose tokens differ in one character, or only in upper and lower case, or by what some
/// store takes for a wildcard, are as different as any two.
pub async fn e3_bl4_owners_that_look_alike_are_strangers(subject: &Subject) {
    let key = subject.key("k");
    let lock = |token: &str| {
        let ttl = Ttl::new(subject.long()).unwrap();
        subject.bind(Claim::new(key.clone(), token.parse::<OwnerToken>().unwrap(), ttl))
    };
    let holder = lock("AbCdEfGhIjKlMnOpQrStUw");
    grant(&*holder).await;
    for alike in [
        "BbCdEfGhIjKlMnOpQrStUw",
        "AbCdEfGhIjXlMnOpQrStUw",
        "AbCdEfGhIjKlMnOpQrStUg",
        "aBcDeFgHiJkLmNoPqRsTuw",
        "A_CdEfGhIjKlMnOpQrStUw",
    ] {
        let stranger = lock(alike);
        held(&*stranger).await;
        assert!(!is_renewed(&stranger).await, "{alike}");
        assert_eq!(stranger.release().await.unwrap(), Release::NotHeld, "{alike}");
        assert!(is_renewed(&holder).await, "after {alike}");
    }
    released(&*holder).await;
}

/// Of many copies of a release, one frees the key, and none takes it from the next holder.
pub async fn e3_bl14_a_release_that_is_sent_many_times_at_once_frees_the_key_once(
    subject: &Subject,
) {
    for round in 0..20 {
        let key = subject.key(&format!("k{round}"));
        let first = subject.lock(&key, subject.long());
        grant(&*first).await;
        let copies: Vec<_> = (0..8)
            .map(|_| {
                let first = first.clone();
                tokio::spawn(async move { first.release().await.unwrap() })
            })
            .collect();
        let next = succeed(subject, &key, &copies).await;
        let mut frees = 0;
        for copy in copies {
            frees += usize::from(copy.await.unwrap() == Release::Released);
        }
        assert_eq!(frees, 1, "copies that freed the key");
        released(&*next).await;
    }
}

/// After its lease has ended, an owner cannot renew or release what the next owner holds.
pub async fn e4_bl3_a_stale_owner_cannot_touch_its_successor(subject: &Subject) {
    let key = subject.key("k");
    let stale = subject.lock(&key, subject.units(1));
    grant(&*stale).await;
    subject.expire(&key, subject.units(1)).await;
    let successor = subject.lock(&key, subject.long());
    grant(&*successor).await;
    assert!(!is_renewed(&stale).await);
    assert_eq!(stale.release().await.unwrap(), Release::NotHeld);
    held(&*subject.lock(&key, subject.long())).await;
    released(&*successor).await;
    assert_eq!(stale.try_acquire().await.unwrap(), Attempt::Undone);
}

/// Releasing an expired lease is no error, says that nothing was held, and is an undo.
pub async fn e3_bl12_a_release_after_expiry_says_not_held(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.units(1));
    grant(&*lock).await;
    // The lease ends by itself: the store may not have noticed yet.
    subject.pass(subject.units(2)).await;
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    assert_eq!(lock.try_acquire().await.unwrap(), Attempt::Undone);
    grant(&*subject.lock(&key, subject.long())).await;
}

/// A second release says that nothing was held and leaves the next holder alone.
pub async fn e3_bl13_a_second_release_touches_nobody(subject: &Subject) {
    let key = subject.key("k");
    let first = subject.lock(&key, subject.long());
    grant(&*first).await;
    released(&*first).await;
    let second = subject.lock(&key, subject.long());
    grant(&*second).await;
    assert_eq!(first.release().await.unwrap(), Release::NotHeld);
    held(&*subject.lock(&key, subject.long())).await;
}

/// Releasing a free key says that nothing was held.
pub async fn e3_bl39_releasing_what_was_never_acquired_says_not_held(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    assert_eq!(lock.release().await.unwrap(), Release::NotHeld);
    assert!(!is_renewed(&lock).await);
    grant(&*subject.lock(&key, subject.long())).await;
}

/// A client mints a token for every acquisition, of the same key as well.
pub async fn e4_every_acquisition_of_a_client_has_its_own_owner_token(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let mut seen = HashSet::new();
    for _ in 0..20 {
        let guard = client.lock(&key).acquire().await.unwrap();
        assert!(seen.insert(*guard.owner_token()));
        guard.release().await.unwrap();
    }
}

/// Two locks of one claim are one owner. One can renew, repeat and undo what the other has done.
pub async fn e2_locks_of_one_claim_are_interchangeable(subject: &Subject) {
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    let token = grant(&*lock).await;
    let ttl = lock.claim().ttl();
    assert_eq!(lock.another().renew(ttl).await.unwrap(), Renewal::renewed(token));
    assert_eq!(grant(&*lock.another()).await, token);
    if subject.has(Capability::FencingFloor) {
        let raised = FencingToken::new(token.unwrap().as_u64() + 5);
        assert_eq!(lock.another().floor().raise(raised.unwrap()).await.unwrap(), raised);
        assert_eq!(lock.renew(ttl).await.unwrap(), Renewal::renewed(raised));
    }
    drop(lock.another());
    assert!(is_renewed(&lock).await, "dropping a lock releases nothing");
    if subject.has(Capability::HandOver) {
        let next = subject.lock(&key, subject.long());
        let given = lock.another().hand_over().hand_over(next.claim()).await.unwrap();
        assert!(matches!(given, Transfer::Granted { .. }), "{given:?}");
        assert!(!is_renewed(&lock).await);
        assert!(is_renewed(&next.another()).await);
        released(&*next.another()).await;
        assert!(!is_renewed(&next).await);
    } else {
        released(&*lock.another()).await;
        assert!(!is_renewed(&lock).await);
    }
    let undone = subject.lock(&key, subject.long());
    assert_eq!(undone.release().await.unwrap(), Release::NotHeld);
    assert_eq!(undone.another().try_acquire().await.unwrap(), Attempt::Undone);
    grant(&*subject.lock(&key, subject.long())).await;
}
