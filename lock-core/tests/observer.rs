//! Which events observers get, and that observers cannot break a lock.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use lock_core::LockClient;
use lock_core::backend::Mode;
use lock_core::observe::{Event, EventKind, Observer};
use lock_memory::{Fault, Faults, ManualClock, MemoryProvider, Verb};

const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Forward(Sender<Event>);

impl Observer for Forward {
    fn on_event(&self, event: &Event) {
        let _ = self.0.send(event.clone());
    }
}

fn observed() -> (LockClient, Faults, Receiver<Event>) {
    let (sender, events) = channel();
    let faults = Faults::new();
    let client = LockClient::builder(faults.around(MemoryProvider::new()))
        .name("billing")
        .observer(Forward(sender))
        .build()
        .unwrap();
    (client, faults, events)
}

/// The next event other than a request, and its name: that of its outcome, if it has one.
fn next(events: &Receiver<Event>) -> (Event, &'static str) {
    loop {
        let event = events.recv_timeout(LIMIT).expect("an event");
        let name = match event.kind() {
            EventKind::Request { .. } => continue,
            EventKind::AcquireEnded { outcome, .. } => outcome.name(),
            EventKind::HoldEnded { outcome, .. } => outcome.name(),
            kind => kind.name(),
        };
        return (event, name);
    }
}

#[tokio::test(start_paused = true)]
async fn every_step_of_a_locks_life_is_an_event() {
    let (client, faults, events) = observed();
    let guard = client.lock("k").ttl(Duration::from_secs(9)).auto_renew().acquire().await.unwrap();
    let (started, name) = next(&events);
    assert_eq!((name, started.provider()), ("acquire_started", "memory"));
    assert_eq!((started.client(), started.key().as_str()), (Some("billing"), "k"));
    assert_eq!((started.owner(), started.mode()), (Some(guard.owner()), Some(Mode::Exclusive)));
    let (ended, name) = next(&events);
    assert_eq!((name, ended.id()), ("acquired", started.id()));
    assert!(matches!(ended.kind(), EventKind::AcquireEnded { effort, .. } if effort.attempts == 1));
    let (held, name) = next(&events);
    assert_eq!((name, held.id()), ("hold_started", started.id()));
    let token = guard.fencing_token();
    assert!(matches!(held.kind(), EventKind::HoldStarted { fencing, .. } if *fencing == token));

    let error = client.lock("k").wait_at_most(Duration::from_millis(10)).acquire().await;
    assert!(error.unwrap_err().is_timed_out());
    let (other, name) = next(&events);
    assert_eq!(name, "acquire_started");
    assert_ne!(other.id(), started.id());
    assert_eq!(next(&events).1, "waiting");
    assert_eq!(next(&events).1, "timed_out");

    faults.next(Verb::Renew, 1, Fault::unavailable());
    guard.at_risk().await.unwrap();
    assert_eq!(next(&events).1, "at_risk");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(next(&events).1, "renewed");
    faults.next(Verb::Renew, 10_000, Fault::unavailable());
    guard.lost().await.unwrap();
    let lost = std::iter::repeat_with(|| next(&events).1)
        .find(|name| *name != "at_risk" && *name != "renewed");
    assert_eq!(lost, Some("expired"));
    drop(guard);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(next(&events).1, "released");

    faults.next(Verb::TryAcquire, 1, Fault::LoseAnswer);
    assert!(client.lock("k").try_acquire().await.is_err());
    assert_eq!(next(&events).1, "acquire_started");
    assert_eq!(next(&events).1, "unavailable");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(next(&events).1, "undone");
}

#[tokio::test]
async fn g2_a_lease_that_ended_without_notice_is_reported_as_lost() {
    let clock = ManualClock::new();
    let (sender, events) = channel();
    let store = MemoryProvider::builder().clock(clock.clone()).build();
    let client = LockClient::builder(store).observer(Forward(sender)).build().unwrap();
    let ttl = Duration::from_secs(9);
    for name in ["watched by nobody", "released", "dropped", "forgotten", "detached"] {
        let guard = client.lock(name).ttl(ttl).acquire().await.unwrap();
        // Past its deadline, and still held in the store. No task has run since.
        clock.jump(ttl - Duration::from_millis(50));
        assert!(!guard.is_held());
        match name {
            "released" => guard.release().await.unwrap(),
            "dropped" => drop(guard),
            "forgotten" => guard.forget(),
            "detached" => drop(guard.detach().await),
            _ => {
                clock.advance(Duration::ZERO).await;
                // An observer makes no difference: the store confirms that nobody else had it.
                guard.release().await.unwrap();
            }
        }
        let ends: Vec<_> = std::iter::repeat_with(|| next(&events))
            .map(|(_, kind)| kind)
            .skip_while(|kind| *kind != "hold_started")
            .take(2)
            .collect();
        assert_eq!(ends, ["hold_started", "expired"], "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_releases_and_undos_in_the_background() {
    let (client, faults, events) = observed();
    for fault in [Fault::DelayAnswer(Duration::from_secs(1)), Fault::unavailable()] {
        faults.next(Verb::Release, 1, fault);
        drop(client.lock("k").acquire().await.unwrap());
        assert!(!client.inspect("k").await.unwrap().is_free() || faults.count(Verb::Release) > 0);
        client.drain().await;
        assert!(client.inspect("k").await.unwrap().is_free());
    }
    faults.next(Verb::TryAcquire, 1, Fault::Late(Duration::from_millis(50)));
    let dropped = client.lock("k").acquire();
    assert!(tokio::time::timeout(Duration::from_millis(10), dropped).await.is_err());
    client.drain().await;
    let kinds: Vec<_> = events.try_iter().map(|event| event.kind().name()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "undone").count(), 1, "{kinds:?}");
    // A runtime that is shut down drops its tasks, and nobody waits for them.
    let other = client.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { drop(other.lock("other").acquire().await.unwrap()) });
    })
    .join()
    .unwrap();
    client.drain().await;
}

#[derive(Debug, Default)]
struct Hostile {
    seen: Arc<AtomicUsize>,
    stuck: Arc<AtomicBool>,
}

impl Observer for Hostile {
    fn on_event(&self, _: &Event) {
        self.seen.fetch_add(1, Ordering::SeqCst);
        while self.stuck.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        panic!("an observer's own bug");
    }
}

#[tokio::test]
async fn bl34_an_observer_that_panics_or_hangs_breaks_nothing() {
    let hostile = Hostile::default();
    let (seen, stuck) = (Arc::clone(&hostile.seen), Arc::clone(&hostile.stuck));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let client = LockClient::builder(MemoryProvider::new()).observer(hostile).build().unwrap();
    let cycle = async || {
        client.lock("k").acquire().await.unwrap().release().await.unwrap();
    };
    for _ in 0..10 {
        cycle().await;
    }
    stuck.store(true, Ordering::SeqCst);
    // More events than the queue holds: what does not fit is dropped, nobody waits.
    for _ in 0..10_000 {
        tokio::time::timeout(LIMIT, cycle()).await.expect("a stuck observer delays nobody");
    }
    let dropped = client.counts().events_dropped;
    assert!(dropped > 10_000, "{dropped} dropped");
    assert_eq!((client.counts().held, client.counts().acquiring), (0, 0));
    stuck.store(false, Ordering::SeqCst);
    tokio::time::timeout(LIMIT, client.flush()).await.expect("the rest is received");
    let give_up = std::time::Instant::now() + LIMIT;
    while seen.load(Ordering::SeqCst) < 100 {
        assert!(std::time::Instant::now() < give_up, "a panic ended the observer");
        std::thread::yield_now();
    }
    std::panic::set_hook(hook);
}
