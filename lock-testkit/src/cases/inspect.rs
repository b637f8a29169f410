//! I1 inspect, and capabilities that are declared absent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lock_core::backend::{Claim, Release, Ttl};
use lock_core::{Capabilities, Capability, LockKey, Metadata};
use lock_memory::Verb;

use super::{grant, queued, released};
use crate::Subject;

/// A key that nobody holds has no holder.
pub async fn i1_a_free_key_has_no_holder(subject: &Subject) {
    if !subject.has(Capability::Inspect) {
        return;
    }
    let (client, key) = (subject.client(), subject.key("k"));
    assert!(client.inspect(&key).await.unwrap().is_free());
    client.lock(&key).acquire().await.unwrap().release().await.unwrap();
    assert!(client.inspect(&key).await.unwrap().is_free());
}

/// Inspecting shows owner, time and token of the holder, any number of times, and changes nothing.
pub async fn i1_inspecting_reports_the_holder_and_changes_nothing(subject: &Subject) {
    if !subject.has(Capability::Inspect) {
        return;
    }
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    let token = grant(&*lock).await;
    for _ in 0..5 {
        let occupancy = subject.client().inspect(&key).await.unwrap();
        let holder = occupancy.holder().expect("a holder");
        assert_eq!((occupancy.live(), occupancy.holders().len()), (1, 1));
        assert_eq!(holder.owner(), lock.claim().owner_token().fingerprint());
        assert_eq!(holder.fencing(), token);
        assert!(holder.remaining().is_none_or(|left| left <= subject.long()));
    }
    assert_eq!(grant(&*lock).await, token);
    released(&*lock).await;
}

/// However often a lease is looked at, it ends, and then has no holder.
pub async fn i1_inspecting_does_not_keep_a_lease_alive(subject: &Subject) {
    if !subject.has(Capability::Inspect) {
        return;
    }
    let key = subject.key("k");
    grant(&*subject.lock(&key, subject.units(1))).await;
    let onlooker = subject.lock(&key, subject.units(1));
    let give_up = subject.clock().now().after(subject.units(20));
    while let Some(holder) = onlooker.inspect().await.unwrap() {
        assert!(subject.clock().now() < give_up, "still {holder:?}");
        subject.pass(subject.units(1) / 20).await;
    }
    grant(&*subject.lock(&key, subject.long())).await;
}

/// Owner, note and token of one answer belong to one holder, even while holders change fast.
///
/// The token of an owner whose acquisition is in flight may still increase. It is larger than that
/// of every earlier holder. Once the acquisition is answered, the token no longer changes.
pub async fn i1_what_is_reported_together_is_of_one_holder(subject: &Subject) {
    if !subject.has(Capability::Inspect) {
        return;
    }
    let key = subject.key("k");
    let claims: Vec<_> = (0..100).map(|_| noted_with_its_owner(subject, &key)).collect();
    let turns: Vec<_> = claims.iter().map(|claim| subject.bind(claim.clone())).collect();
    let granted = Arc::new(AtomicUsize::new(0));
    let grants = Arc::clone(&granted);
    let holders = tokio::spawn(async move {
        let mut tokens = Vec::new();
        for lock in turns {
            tokens.push(grant(&*lock).await);
            grants.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            released(&*lock).await;
        }
        tokens
    });
    let (onlooker, mut told) = (subject.lock(&key, subject.long()), Vec::new());
    while !holders.is_finished() {
        let granted = granted.load(Ordering::SeqCst);
        told.extend(onlooker.inspect().await.unwrap().map(|holder| (holder, granted)));
        tokio::task::yield_now().await;
    }
    let tokens = holders.await.unwrap();
    for (holder, granted) in told {
        let is_owner = |claim: &Claim| claim.owner_token().fingerprint() == holder.owner();
        let which = claims.iter().position(is_owner).expect("a holder of this key");
        assert_eq!(holder.metadata(), claims[which].metadata());
        let (fencing, final_one) = (holder.fencing(), tokens[which]);
        let earlier = which.checked_sub(1).and_then(|before| tokens[before]);
        let under_way = which >= granted && earlier < fencing && fencing <= final_one;
        assert!(under_way || fencing == final_one, "{fencing:?} of {which}: {tokens:?}");
    }
}

/// A store that reports how many claims wait counts those in its queue, and none that has left it.
pub async fn i1_inspecting_counts_the_claims_that_wait(subject: &Subject) {
    if !subject.has(Capability::Inspect) || !subject.has(Capability::Queue) {
        return;
    }
    let (client, key) = (subject.client(), subject.key("k"));
    let waiting = async || client.inspect(&key).await.unwrap().waiting();
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    if waiting().await.is_none() {
        return; // a store need not report it
    }
    assert_eq!(waiting().await, Some(0));
    let waiters: Vec<_> = (0..3).map(|_| subject.lock(&key, subject.long())).collect();
    let mut subscriptions = Vec::new();
    for lock in &waiters {
        subscriptions.push(lock.queue().subscribe().await.unwrap());
        queued(lock).await;
    }
    assert_eq!(waiting().await, Some(3));
    assert_eq!(waiters[1].release().await.unwrap(), Release::NotHeld);
    assert_eq!(waiting().await, Some(2));
}

fn noted_with_its_owner(subject: &Subject, key: &LockKey) -> Claim {
    let claim = subject.claim(key, subject.long());
    if !subject.has(Capability::Metadata) {
        return claim;
    }
    let note = Metadata::new(claim.owner_token().to_string()).unwrap();
    claim.with_metadata(note)
}

/// Metadata comes back as it was given: empty, text, every byte, up to the limit, and empty again.
pub async fn i1_bl5_metadata_comes_back_byte_for_byte(subject: &Subject) {
    if !subject.has(Capability::Metadata) || !subject.has(Capability::Inspect) {
        return;
    }
    let every_byte: Vec<u8> = (0..=255).collect();
    let like_a_token = "AAAAAAAAAAAAAAAAAAAAAA";
    let longest = vec![b'x'; Metadata::MAX_LEN];
    let notes = [b"", "wörker-7".as_bytes(), like_a_token.as_bytes(), &every_byte, &longest, b""];
    for note in notes {
        let key = subject.key("k");
        let metadata = Metadata::new(note).unwrap();
        let claim = subject.claim(&key, subject.long()).with_metadata(metadata.clone());
        let lock = subject.bind(claim);
        grant(&*lock).await;
        let holder = lock.inspect().await.unwrap().expect("a holder");
        assert_eq!(holder.metadata(), &metadata);
        assert_eq!(holder.owner(), lock.claim().owner_token().fingerprint());
        released(&*lock).await;
    }
}

/// Nothing that is shown of a provider, a lock, a guard or a holder contains the owner token.
pub async fn i1_the_owner_token_is_never_shown(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    let guard = client.lock(&key).acquire().await.unwrap();
    let secret = guard.owner_token().expose().to_owned();
    let mut shown = format!("{guard:?} {:?} {}", guard.lease(), guard.owner_token());
    if subject.has(Capability::Inspect) {
        shown += &format!("{:?}", client.inspect(&key).await.unwrap());
    }
    let ttl = Ttl::new(subject.long()).unwrap();
    let lock = subject.bind(Claim::new(key.clone(), *guard.owner_token(), ttl));
    grant(&*lock).await;
    shown += &format!("{lock:?} {:?}", subject.provider());
    let again = client.lock(&key).owner_token(*guard.owner_token());
    shown += &format!("{again:?}");
    shown += &format!("{:?}", client.lock(&key).try_acquire().await.unwrap_err());
    assert!(!shown.contains(&secret), "the token is shown in {shown}");
}

/// A provider without inspect refuses it, rather than pretending that the key is free.
pub async fn w3_bl38_inspect_is_refused_where_it_is_missing(subject: &Subject) {
    let (client, key) = (subject.client(), subject.key("k"));
    if subject.has(Capability::Inspect) {
        return client.inspect(&key).await.map(drop).unwrap();
    }
    let error = client.inspect(&key).await.unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("inspect"), "{error}");
}

/// A provider without metadata refuses it, rather than dropping it.
pub async fn w3_bl38_metadata_is_refused_where_it_is_missing(subject: &Subject) {
    let (client, faults) = subject.faulty_client();
    let noted = client.lock(subject.key("k")).metadata("note").try_acquire().await;
    if subject.has(Capability::Metadata) {
        drop(noted.unwrap());
    } else {
        let error = noted.unwrap_err();
        assert!(error.is_unsupported() && error.to_string().contains("metadata"), "{error}");
        assert_eq!(faults.count(Verb::TryAcquire), 0);
    }
}

/// What an application requires is checked when it starts, by name of provider and capability.
pub async fn w3_bl38_a_missing_capability_is_named_at_start_up(subject: &Subject) {
    for capability in Capability::ALL.iter().copied() {
        let built = subject.client_builder().require([capability]).build();
        if subject.has(capability) {
            built.unwrap();
            continue;
        }
        let message = built.unwrap_err().to_string();
        assert!(message.contains(subject.provider().info().name()), "{message}");
        assert!(message.contains(&format!("`{capability}`")), "{message}");
    }
}

/// What a provider can do is what its author expects, no less and no more: an optional trait that
/// is forgotten would never be tested.
pub async fn bl38_capabilities_are_the_expected_ones(subject: &Subject) {
    if let Some(expected) = subject.expected() {
        assert_eq!(subject.capabilities(), expected, "`Subject::expects` says otherwise");
    }
}

/// What a provider can do is the same for every claim, and does not change while it is used.
pub async fn bl38_capabilities_never_change(subject: &Subject) {
    let before = subject.capabilities();
    let key = subject.key("k");
    let lock = subject.lock(&key, subject.long());
    grant(&*lock).await;
    for lock in [lock.another(), subject.lock(&key, subject.units(1))] {
        assert_eq!(lock.as_hints().is_some(), before.has(Capability::Hints));
        assert_eq!(lock.as_queue().is_some(), before.has(Capability::Queue));
        assert_eq!(lock.as_hand_over().is_some(), before.has(Capability::HandOver));
        assert_eq!(lock.as_fencing_floor().is_some(), before.has(Capability::FencingFloor));
    }
    released(&*lock).await;
    assert_eq!(Capabilities::of(subject.provider()), before);
    assert!(!before.has(Capability::FencingFloor) || before.has(Capability::Fencing));
    assert!(!before.has(Capability::Queue) || before.has(Capability::Hints));
}
