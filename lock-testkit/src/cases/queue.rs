//! M3 order: the store's queue grants in the order of arrival, and a dead waiter does not block it
//! for long (bug B-P5).

use std::time::Duration;

use lock_core::backend::{Attempt, Release, Signal, Subscription};
use lock_core::{Capability, LockKey, Metadata};

use super::{elapsed, grant, held, is_renewed, queued, released};
use crate::Subject;
use crate::handle::Handle;

/// A waiter in the store's queue.
struct Queued {
    lock: Handle,
    subscription: Subscription,
}

async fn queue_up(subject: &Subject, key: &LockKey) -> Queued {
    let lock = subject.lock(key, subject.long());
    let subscription = lock.queue().subscribe().await.unwrap();
    queued(&lock).await;
    Queued { lock, subscription }
}

impl Queued {
    /// Waits for the signal of the grant, and confirms it.
    async fn is_served(&mut self, subject: &Subject) {
        let limit = subject.clock().sleep(subject.units(10));
        let told = tokio::select! {
            signal = self.subscription.next() => signal.expect("the subscription has ended"),
            () = limit => panic!("the head of the queue got no signal"),
        };
        assert_eq!(told, Signal::Granted);
        grant(&*self.lock).await;
    }
}

/// A released key goes to the head of its queue, not to the owner that asks first.
pub async fn f1_m3_a_release_grants_the_head_of_the_queue(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    let first = grant(&*holder).await;
    let mut waiter = queue_up(subject, &key).await;
    released(&*holder).await;
    held(&*subject.lock(&key, subject.long())).await;
    waiter.is_served(subject).await;
    let second = grant(&*waiter.lock).await;
    assert!(!subject.has(Capability::Fencing) || second > first, "{second:?} after {first:?}");
    released(&*waiter.lock).await;
    grant(&*subject.lock(&key, subject.long())).await;
}

/// Waiters in the queue are granted the key in the order of arrival, with growing tokens. A
/// repeated attempt keeps its place.
pub async fn f1_m3_the_queue_is_served_in_the_order_of_arrival(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let mut holder = subject.lock(&key, subject.long());
    let mut last = grant(&*holder).await;
    let mut waiters = Vec::new();
    for _ in 0..10 {
        waiters.push(queue_up(subject, &key).await);
        subject.pass(Duration::from_millis(2)).await;
    }
    for waiter in waiters.iter().rev() {
        queued(&waiter.lock).await;
        held(&*waiter.lock).await;
    }
    for mut waiter in waiters {
        released(&*holder).await;
        waiter.is_served(subject).await;
        let fencing = grant(&*waiter.lock).await;
        assert!(!subject.has(Capability::Fencing) || fencing > last, "{fencing:?} after {last:?}");
        (holder, last) = (waiter.lock, fencing);
    }
    released(&*holder).await;
    grant(&*subject.lock(&key, subject.long())).await;
}

/// After the end of a lease the key goes to the head as well, not to the owner that notices it
/// first.
pub async fn t1_m3_an_expiry_grants_the_head_of_the_queue(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let ttl = subject.until_expire();
    grant(&*subject.lock(&key, ttl)).await;
    let mut waiter = queue_up(subject, &key).await;
    subject.expire(&key, ttl).await;
    held(&*subject.lock(&key, subject.long())).await;
    waiter.is_served(subject).await;
    assert!(is_renewed(&waiter.lock).await);
}

/// A head that asks for itself after an expiry has the key at once and whole.
pub async fn t1_m3_the_head_of_the_queue_can_take_an_expired_key(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let ttl = subject.until_expire();
    grant(&*subject.lock(&key, ttl)).await;
    let head = queue_up(subject, &key).await;
    let mut next = queue_up(subject, &key).await;
    subject.expire(&key, ttl).await;
    grant(&*head.lock).await;
    subject.pass(2 * Signal::CONFIRM_WINDOW).await;
    held(&*next.lock).await;
    released(&*head.lock).await;
    next.is_served(subject).await;
}

/// A waiter that never confirms its grant delays those behind it by no more than one window.
pub async fn bp5_a_dead_waiter_costs_one_confirmation_window_at_most(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let dead = queue_up(subject, &key).await;
    let next = queue_up(subject, &key).await;
    let freed = subject.clock().now();
    released(&*holder).await;
    let left = held(&*next.lock).await;
    assert!(left.is_none_or(|left| left <= Signal::CONFIRM_WINDOW), "held for {left:?}");
    subject.pass(Signal::CONFIRM_WINDOW.saturating_sub(elapsed(subject.clock(), freed))).await;
    subject.pass(Duration::from_millis(20)).await;
    grant(&*next.lock).await;
    // It is out of the queue, and what it asks for now is a new place at its end.
    held(&*dead.lock).await;
    released(&*next.lock).await;
}

/// A claim shorter than the window is granted for its own ttl, not for the window.
pub async fn t1_a_queue_grants_a_short_claim_for_no_longer_than_its_ttl(subject: &Subject) {
    if !subject.has(Capability::Queue) || !subject.has(Capability::Inspect) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let ttl = Signal::CONFIRM_WINDOW / 4;
    let short = subject.lock(&key, ttl);
    let _subscription = short.queue().subscribe().await.unwrap();
    queued(&short).await;
    released(&*holder).await;
    let left = short.inspect().await.unwrap().and_then(|holder| holder.remaining());
    assert!(left.is_none_or(|left| left <= ttl), "granted for {left:?} instead of {ttl:?}");
}

/// A confirmed grant is as long, and has the same note, as any other.
pub async fn t1_e2_a_confirmed_grant_has_its_whole_ttl_and_its_metadata(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let note = match subject.has(Capability::Metadata) {
        true => Metadata::new("queued").unwrap(),
        false => Metadata::default(),
    };
    let claim = subject.claim(&key, subject.long()).with_metadata(note.clone());
    let lock = subject.bind(claim);
    let subscription = lock.queue().subscribe().await.unwrap();
    queued(&lock).await;
    let mut waiter = Queued { lock, subscription };
    released(&*holder).await;
    waiter.is_served(subject).await;
    subject.pass(2 * Signal::CONFIRM_WINDOW).await;
    held(&*subject.lock(&key, subject.long())).await;
    if subject.has(Capability::Inspect) {
        let seen = waiter.lock.inspect().await.unwrap().expect("a holder");
        assert_eq!(seen.owner(), waiter.lock.claim().owner_token().fingerprint());
        assert_eq!(seen.metadata(), &note);
    }
    assert!(is_renewed(&waiter.lock).await);
}

/// A waiter that was undone delays no other, and is never granted the key.
pub async fn u1_bp5_an_undone_waiter_has_left_the_queue(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let gone = queue_up(subject, &key).await;
    let mut next = queue_up(subject, &key).await;
    assert_eq!(gone.lock.release().await.unwrap(), Release::NotHeld);
    released(&*holder).await;
    next.is_served(subject).await;
    assert_eq!(gone.lock.try_acquire().await.unwrap(), Attempt::Undone);
}

/// A waiter that is undone between its grant and its claim passes the key on.
pub async fn u1_bp5_an_undone_grant_goes_to_the_next_in_the_queue(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let gone = queue_up(subject, &key).await;
    let mut next = queue_up(subject, &key).await;
    released(&*holder).await;
    assert_eq!(gone.lock.release().await.unwrap(), Release::Released);
    next.is_served(subject).await;
    assert_eq!(gone.lock.release().await.unwrap(), Release::NotHeld);
}

/// An attempt without waiting takes no place.
pub async fn bp5_only_an_attempt_that_queues_and_listens_takes_a_place(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let passer_by = subject.lock(&key, subject.long());
    held(&*passer_by).await;
    // Nor does an owner that no longer waits.
    let impatient = subject.lock(&key, subject.long());
    drop(impatient.queue().subscribe().await.unwrap());
    queued(&impatient).await;
    // Nor does a plain attempt with an open subscription.
    let listener = subject.lock(&key, subject.long());
    let _subscription = listener.queue().subscribe().await.unwrap();
    held(&*listener).await;
    released(&*holder).await;
    grant(&*subject.lock(&key, subject.long())).await;
}

/// Queues of different keys have nothing to do with each other.
pub async fn m3_every_key_has_its_own_queue(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let (one, other) = (subject.key("k"), subject.key("k2"));
    let (holder, bystander) =
        (subject.lock(&one, subject.long()), subject.lock(&other, subject.long()));
    grant(&*holder).await;
    grant(&*bystander).await;
    let mut waiter = queue_up(subject, &one).await;
    released(&*bystander).await;
    grant(&*subject.lock(&other, subject.long())).await;
    held(&*waiter.lock).await;
    released(&*holder).await;
    waiter.is_served(subject).await;
}

/// A place belongs to its owner: another lock of the same claim gives it up, or takes the grant.
pub async fn e2_a_place_in_the_queue_belongs_to_the_owner(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let mut holder = subject.lock(&key, subject.long());
    grant(&*holder).await;
    let gone = queue_up(subject, &key).await;
    let mut next = queue_up(subject, &key).await;
    assert_eq!(gone.lock.another().release().await.unwrap(), Release::NotHeld);
    released(&*holder).await;
    next.is_served(subject).await;
    holder = next.lock.another();
    let mut last = queue_up(subject, &key).await;
    released(&*holder).await;
    last.lock = last.lock.another();
    last.is_served(subject).await;
    released(&*last.lock.another()).await;
    grant(&*subject.lock(&key, subject.long())).await;
}
