//! E1 exclusion, E2 same owner.

use std::sync::Arc;
use std::time::Duration;

use lock_core::backend::{Attempt, Claim, Renewal, Ttl};
use lock_core::{Capability, LockKey, Metadata, OwnerToken};

use super::{grant, held, is_renewed, released};
use crate::{History, Subject};

/// Of two owners of one key, the first is granted, and the second learns how long the lease has
/// left.
pub async fn e1_one_of_two_owners_is_granted(subject: &Subject) {
    let key = subject.key("k");
    let (first, second) = (subject.lock(&key, subject.long()), subject.lock(&key, subject.long()));
    grant(&*first).await;
    let remaining = held(&*second).await;
    assert!(remaining.is_none_or(|left| left <= subject.long()), "{remaining:?}");
    held(&*second).await;
}

/// Of 64 owners that try at the same time, exactly one is granted.
pub async fn e1_bl35_one_of_64_racing_owners_is_granted(subject: &Subject) {
    assert_eq!(grants_of_64(subject, &subject.key("k")).await, 1);
}

/// Of 64 owners that find a lease at its end at the same time, exactly one is granted.
pub async fn e1_bl35_one_of_64_racing_owners_takes_over_an_expired_lease(subject: &Subject) {
    let keys: Vec<_> = (0..8).map(|number| subject.key(&format!("k{number}"))).collect();
    for key in &keys {
        grant(&*subject.lock(key, subject.units(1))).await;
    }
    // The leases end by themselves: what they leave in the store is what is raced for.
    subject.pass(subject.units(2)).await;
    for key in &keys {
        assert_eq!(grants_of_64(subject, key).await, 1);
    }
}

async fn grants_of_64(subject: &Subject, key: &LockKey) -> usize {
    let racers: Vec<_> = (0..64)
        .map(|_| {
            let lock = subject.lock(key, subject.long());
            tokio::spawn(async move { lock.try_acquire().await.unwrap() })
        })
        .collect();
    let mut grants = 0;
    for racer in racers {
        grants += usize::from(matches!(racer.await.unwrap(), Attempt::Granted(_)));
    }
    grants
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

/// Attempts of others do not change the owner, note, token and time of the holder.
pub async fn e1_a_refused_attempt_changes_nothing(subject: &Subject) {
    let key = subject.key("k");
    let noted = |claim: Claim, note| match subject.has(Capability::Metadata) {
        true => claim.with_metadata(Metadata::new(note).unwrap()),
        false => claim,
    };
    let holder = subject.bind(noted(subject.claim(&key, subject.units(20)), "holder"));
    let token = grant(&*holder).await;
    for ttl in [subject.units(1) / 10, subject.long()] {
        held(&*subject.bind(noted(subject.claim(&key, ttl), "stranger"))).await;
    }
    subject.pass(subject.units(1) / 5).await;
    let left = held(&*subject.lock(&key, subject.long())).await;
    assert!(left.is_none_or(|left| left <= subject.units(20)), "{left:?}");
    if subject.has(Capability::Inspect) {
        let found = holder.inspect().await.unwrap().expect("a holder");
        assert_eq!(found.owner(), holder.claim().owner_token().fingerprint());
        assert_eq!((found.metadata(), found.fencing()), (holder.claim().metadata(), token));
    }
    let renewed = Renewal::renewed(token);
    assert_eq!(holder.renew(holder.claim().ttl()).await.unwrap(), renewed);
}

/// Sixteen workers that take turns never hold the key together, and each turn's token is larger.
pub async fn e1_f1_holds_of_16_workers_never_overlap_and_their_tokens_grow(subject: &Subject) {
    let key = subject.key("k");
    let history = Arc::new(History::new());
    let workers: Vec<_> = (0..16)
        .map(|_| {
            // Each has its own client, because the waiters of one client would form a line.
            let (client, history, key) = (subject.client(), Arc::clone(&history), key.clone());
            tokio::spawn(async move {
                for _ in 0..8 {
                    let guard = client.lock(&key).wait_forever().acquire().await.unwrap();
                    let from = client.clock().now();
                    client.clock().sleep_until(from.after(Duration::from_millis(1))).await;
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
    let same_owner = subject.bind(lock.claim().clone());
    assert_eq!(grant(&*same_owner).await, first);
    released(&*lock).await;
}

/// A request that is sent many times at once, as drivers and proxies do, is granted each time, and
/// is one grant.
pub async fn e2_bl17_a_request_that_is_sent_many_times_at_once_is_one_grant(subject: &Subject) {
    for round in 0..20 {
        let lock = subject.lock(&subject.key(&format!("k{round}")), subject.long());
        let copies: Vec<_> = (0..8)
            .map(|_| {
                let lock = lock.clone();
                tokio::spawn(async move { lock.try_acquire().await.unwrap() })
            })
            .collect();
        let mut answers = Vec::new();
        for copy in copies {
            answers.push(copy.await.unwrap());
        }
        let fencing = grant(&*lock).await;
        let same = Attempt::granted(fencing);
        assert!(answers.iter().all(|answer| *answer == same), "{answers:?}, then {same:?}");
        released(&*lock).await;
    }
}

/// Asking again gives the whole ttl again, however often, and never cuts a longer lease short: the
/// request may be an old one that arrives after a renewal.
pub async fn e2_granting_again_gives_the_whole_ttl_and_cuts_nothing(subject: &Subject) {
    let key = subject.key("k");
    let owner = OwnerToken::mint().unwrap();
    let claim = |ttl: Duration| Claim::new(key.clone(), owner, Ttl::new(ttl).unwrap());
    grant(&*subject.bind(claim(subject.units(1)))).await;
    let longer = subject.bind(claim(subject.long()));
    grant(&*longer).await;
    subject.pass(subject.units(2)).await;
    held(&*subject.lock(&key, subject.long())).await;
    grant(&*subject.bind(claim(subject.units(1)))).await;
    subject.pass(subject.units(2)).await;
    held(&*subject.lock(&key, subject.long())).await;
    released(&*longer).await;

    let key = subject.key("often");
    let lock = subject.lock(&key, subject.units(1));
    for _ in 0..30 {
        grant(&*lock).await;
    }
    subject.until_free(&key, subject.units(20)).await;
}

/// No metadata makes one owner pass for another.
pub async fn e3_bl4_metadata_cannot_pass_for_an_owner(subject: &Subject) {
    if !subject.has(Capability::Metadata) {
        return;
    }
    for (of_the_holder, with_note) in [(true, false), (true, true), (false, false), (false, true)] {
        let key = subject.key("k");
        let holder = subject.claim(&key, subject.long());
        let poser = subject.claim(&key, subject.long());
        let owner = if of_the_holder { holder.owner_token() } else { poser.owner_token() };
        let note = Metadata::new(owner.expose()).unwrap();
        let lock = subject.bind(holder.clone().with_metadata(note.clone()));
        grant(&*lock).await;
        let poser = if with_note { poser.with_metadata(note) } else { poser };
        let posing = subject.bind(poser);
        held(&*posing).await;
        assert!(!is_renewed(&posing).await);
        // The holder is known by its token, with or without the note.
        grant(&*subject.bind(holder)).await;
        released(&*lock).await;
    }
}
