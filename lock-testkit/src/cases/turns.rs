//! M3 order among clients: who is served when the waiters of several clients stand in the queue, and
//! what happens to a client that does not react or may not queue.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_core::backend::Signal;
use lock_core::{Backoff, Capability, Error, ErrorKind, Fairness};
use lock_memory::{Fault, Verb};

use super::elapsed;
use crate::Subject;

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
