//! M3 order: the store's queue grants in the order of arrival, and a dead waiter does not block it
//! for long (bug B-P5).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_core::backend::{Attempt, Release, Signal, Subscription};
use lock_core::{Backoff, Capability, Error, ErrorKind, Fairness, LockKey, Metadata};
use lock_memory::{Fault, Verb};

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

/// Lets the waiters of three clients line up one by one, and returns who was served in what order.
async fn order_of_service(subject: &Subject, fairness: Fairness) -> Vec<usize> {
    let key = subject.key("k");
    let clients = [(); 3].map(|()| subject.faulty_client());
    let holder = clients[0].0.lock(&key).acquire().await.unwrap();
    clients.iter().for_each(|(_, faults)| faults.forget_calls());
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut waiters = Vec::new();
    for number in 0..12 {
        let (client, faults) = &clients[number % clients.len()];
        let acquire = client.lock(&key).fairness(fairness);
        let served = Arc::clone(&served);
        waiters.push(tokio::spawn(async move {
            let guard = acquire.acquire().await.unwrap();
            served.lock().unwrap().push(number);
            guard.release().await.unwrap();
        }));
        subject.pass(subject.units(1) / 10).await;
        // It has a place in the store once it was refused while it listened.
        let listening = if fairness == Fairness::Fifo { number / clients.len() + 1 } else { 1 };
        let queues = || {
            let calls = faults.calls();
            let subscriptions = calls.iter().filter(|call| call.verb == Verb::Subscribe).count();
            let last = calls
                .last()
                .is_some_and(|call| call.verb == Verb::TryAcquire && call.answer.is_some());
            subscriptions >= listening && last
        };
        subject.until("it stands in line", queues).await;
    }
    holder.release().await.unwrap();
    for waiter in waiters {
        waiter.await.unwrap();
    }
    Arc::into_inner(served).unwrap().into_inner().unwrap()
}

/// Under [`Fairness::Fifo`] the waiters of several clients are served in the order of their
/// arrival.
pub async fn m3_fifo_serves_all_clients_in_the_order_of_arrival(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let served = order_of_service(subject, Fairness::Fifo).await;
    assert_eq!(served, (0..12).collect::<Vec<_>>());
}

/// Under [`Fairness::Turns`] each client serves its own in the order of their arrival, and nobody
/// is left out.
pub async fn m3_turns_serve_each_client_in_the_order_of_arrival(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let served = order_of_service(subject, Fairness::Turns).await;
    for client in 0..3 {
        let own: Vec<_> = served.iter().filter(|number| *number % 3 == client).collect();
        assert_eq!(own.len(), 4, "{served:?}");
        assert!(own.is_sorted(), "{served:?}");
    }
}

/// A client whose waiters never pause does not keep another out for more than a turn.
pub async fn m3_a_busy_client_lets_others_have_their_turn(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let (busy, other) = (subject.client(), subject.client());
    let key = subject.key("k");
    let served = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (client, key, served) = (busy.clone(), key.clone(), Arc::clone(&served));
            tokio::spawn(async move {
                loop {
                    let guard = client.lock(&key).acquire().await.unwrap();
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    served.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    guard.release().await.unwrap();
                }
            })
        })
        .collect();
    let count = || served.load(std::sync::atomic::Ordering::SeqCst);
    subject.until("the busy client is busy", || count() > 20).await;
    for _ in 0..5 {
        let before = count();
        drop(other.lock(&key).acquire().await.unwrap());
        // A turn may have begun just before, and one more hold may be in progress.
        let between = count() - before;
        assert!(between <= 2 * u32::from(Fairness::TURN) + 2, "{between} others came first");
    }
    for worker in workers {
        worker.abort();
    }
}

/// A waiter that is cancelled at the head of the queue is passed over at once.
pub async fn g5_bp5_a_cancelled_waiter_at_the_head_is_passed_over(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let key = subject.key("k");
    let holder = subject.client().lock(&key).acquire().await.unwrap();
    let clients = [(); 2].map(|()| subject.faulty_client());
    let mut waiters = Vec::new();
    for (client, faults) in &clients {
        let acquire = client.lock(&key).retry(Backoff::fixed(subject.units(15)));
        waiters.push(tokio::spawn(acquire.acquire()));
        // Once more after it has begun to listen.
        let queues = || {
            let calls = faults.calls();
            calls.len() >= 3 && calls.iter().all(|call| call.answer.is_some())
        };
        subject.until("it queues", queues).await;
    }
    let (next, head) = (waiters.pop().unwrap(), waiters.pop().unwrap());
    head.abort();
    assert!(head.await.unwrap_err().is_cancelled());
    subject.until("it has left", || clients[0].1.count(Verb::Release) >= 1).await;
    subject.pass(subject.units(1) / 10).await;
    let freed = subject.clock().now();
    holder.release().await.unwrap();
    drop(next.await.unwrap().unwrap());
    let waited = elapsed(subject.clock(), freed);
    assert!(waited < subject.units(5), "waited {waited:?} for one that had left");
}

/// Of two clients the one whose messages are all lost is passed over within one window, and
/// served in the end.
pub async fn n1_bp5_a_client_that_hears_nothing_is_passed_over_and_served_later(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let (builder, faults) = subject.faulty_builder();
    let deaf = builder.retry(Backoff::fixed(subject.units(4))).build().unwrap();
    faults.always(Verb::Subscribe, Fault::MuteSubscription);
    let other = subject.client();
    let key = subject.key("k");
    let holder = subject.client().lock(&key).acquire().await.unwrap();
    let first = tokio::spawn(deaf.lock(&key).acquire());
    subject.until("it waits", || faults.count(Verb::TryAcquire) >= 2).await;
    let second = tokio::spawn(other.lock(&key).acquire());
    subject.pass(subject.units(1) / 4).await;
    let freed = subject.clock().now();
    holder.release().await.unwrap();
    second.await.unwrap().unwrap().release().await.unwrap();
    let waited = elapsed(subject.clock(), freed);
    assert!(waited < Signal::CONFIRM_WINDOW + subject.units(5), "waited {waited:?}");
    first.await.unwrap().unwrap().release().await.unwrap();
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

/// A waiter whose user may not queue is served all the same: it polls.
pub async fn w3_a_waiter_that_may_not_queue_polls(subject: &Subject) {
    if !subject.has(Capability::Queue) {
        return;
    }
    let short = subject.units(1) / 5;
    // The subscription has to be open before the delay ends, because the attempt after it queues.
    let long = subject.units(2);
    for (verb, delay) in [(Verb::Subscribe, short), (Verb::TryAcquire, long)] {
        let (builder, faults) = subject.faulty_builder();
        let client = builder.retry(Backoff::fixed(delay)).build().unwrap();
        let key = subject.key(&format!("{verb:?}"));
        let holder = subject.client().lock(&key).acquire().await.unwrap();
        let denied = Fault::Fail(Error::new(ErrorKind::Denied, "injected: no right to queue"));
        match verb {
            Verb::Subscribe => faults.always(verb, denied),
            // The first attempt is a plain one. The second one queues, and a plain one replaces it.
            _ => {
                faults.next(verb, 1, Fault::DelayAnswer(Duration::ZERO));
                faults.next(verb, 1, denied);
            }
        }
        let waiter = tokio::spawn(client.lock(&key).acquire());
        subject.until("it polls", || faults.count(Verb::TryAcquire) >= 4).await;
        holder.release().await.unwrap();
        waiter.await.unwrap().unwrap().release().await.unwrap();
        assert!(faults.count(Verb::Subscribe) <= 2, "it subscribes again and again");
    }
}
