//! Gauges that an observer counts, and the numbers that a client keeps itself, equal the locks that
//! are held and the acquisitions that are under way, after every step of random schedules.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_core::backend::Verb;
use lock_core::observe::{Event, EventKind, Observer};
use lock_core::{Backoff, CancellationToken, LockClient, LockGuard, LockKey, OwnerToken, Result};
use lock_memory::{Fault, Faults, ManualClock, MemoryProvider};
use tokio::task::JoinHandle;

const KEYS: [&str; 2] = ["a", "b"];

/// What the events add up to.
#[derive(Debug, Default)]
struct Sums {
    acquiring: HashSet<u64>,
    held: HashSet<u64>,
    requests: HashMap<Verb, usize>,
    /// The acquisitions that wait.
    waiting: HashSet<u64>,
    /// Ends without a start, starts without an end, and waits that were reported twice.
    unbalanced: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct Gauges(Arc<Mutex<Sums>>);

impl Observer for Gauges {
    fn on_event(&self, event: &Event) {
        let mut sums = self.0.lock().unwrap();
        let id = event.id().unwrap_or_default();
        let balanced = match event.kind() {
            EventKind::AcquireStarted => sums.acquiring.insert(id),
            EventKind::AcquireEnded { .. } => sums.acquiring.remove(&id),
            EventKind::Waiting { .. } => sums.waiting.insert(id),
            EventKind::HoldStarted { .. } => sums.held.insert(id),
            EventKind::HoldEnded { .. } => sums.held.remove(&id),
            EventKind::Request { verb, .. } => {
                *sums.requests.entry(*verb).or_default() += 1;
                true
            }
            _ => true,
        };
        if !balanced {
            sums.unbalanced.push(format!("{event:?}"));
        }
    }
}

/// A client on the fake, what the test holds of it, and a clock in the test's hand.
struct World {
    /// The seed, and the steps so far.
    schedule: (u64, Vec<&'static str>),
    rng: fastrand::Rng,
    clock: ManualClock,
    store: MemoryProvider,
    faults: Faults,
    client: LockClient,
    gauges: Option<Gauges>,
    guards: Vec<LockGuard>,
    waiting: Vec<(JoinHandle<Result<LockGuard>>, CancellationToken)>,
    detached: Vec<(LockKey, OwnerToken)>,
}

impl World {
    fn new(seed: u64, is_observed: bool) -> Self {
        let (clock, faults, gauges) = (ManualClock::new(), Faults::new(), Gauges::default());
        let store = MemoryProvider::builder().clock(clock.clone()).build();
        let builder = LockClient::builder(faults.around(store.clone()));
        let number = AtomicU64::new(seed << 32);
        let mint = move || {
            let number = u128::from(number.fetch_add(1, Ordering::SeqCst));
            Ok(OwnerToken::from_bits(number.to_be_bytes()))
        };
        let builder = builder.owner_tokens(mint).retry(Backoff::default().seed(seed));
        let builder = if is_observed { builder.observer(gauges.clone()) } else { builder };
        let client = builder.build().unwrap();
        Self {
            schedule: (seed, Vec::new()),
            rng: fastrand::Rng::with_seed(seed),
            clock,
            store,
            faults,
            client,
            gauges: is_observed.then_some(gauges),
            guards: Vec::new(),
            waiting: Vec::new(),
            detached: Vec::new(),
        }
    }

    fn any_guard(&mut self) -> Option<LockGuard> {
        (!self.guards.is_empty())
            .then(|| self.guards.swap_remove(self.rng.usize(..self.guards.len())))
    }

    async fn step(&mut self) -> &'static str {
        let key = KEYS[self.rng.usize(..KEYS.len())];
        let millis = Duration::from_millis(self.rng.u64(1..20_000));
        match self.rng.u8(..16) {
            0..=3 => {
                let token = CancellationToken::new();
                let mut acquire = self.client.lock(key).ttl(millis.max(Duration::from_secs(1)));
                acquire = match self.rng.u8(..4) {
                    0 => acquire.no_wait(),
                    1 => acquire.auto_renew(),
                    2 => acquire.wait_at_most(millis),
                    _ => acquire.max_hold(millis),
                };
                let acquire = acquire.cancelled_by(token.clone()).acquire();
                self.waiting.push((tokio::spawn(acquire), token));
                "acquire"
            }
            4 => {
                if let Some(guard) = self.any_guard() {
                    let _ = guard.release().await; // an error drops the guard
                }
                "release"
            }
            5 => {
                drop(self.any_guard());
                "drop a guard"
            }
            6 => {
                if let Some(guard) = self.any_guard() {
                    let key = guard.key().clone();
                    self.detached.push((key, guard.detach().await));
                }
                "detach"
            }
            7 => {
                if let Some(guard) = self.any_guard() {
                    guard.forget();
                }
                "forget"
            }
            8 => {
                if let Some((key, token)) = self.detached.pop() {
                    self.guards.extend(self.client.resume(key, token).await);
                }
                "resume"
            }
            9 => {
                if let Some(guard) = self.any_guard() {
                    let _ = guard.renew_to(millis.max(Duration::from_secs(1))).await;
                    self.guards.push(guard);
                }
                "renew"
            }
            10 => {
                self.store.take_over(key).unwrap();
                "take over"
            }
            11 => {
                self.store.expire_now(key);
                "expire"
            }
            12 if !self.waiting.is_empty() => {
                let (task, token) = self.waiting.swap_remove(self.rng.usize(..self.waiting.len()));
                if self.rng.bool() {
                    task.abort();
                } else {
                    token.cancel();
                }
                self.guards.extend(task.await.ok().and_then(Result::ok));
                "stop an acquisition"
            }
            13 => {
                let verbs = [Verb::TryAcquire, Verb::Renew, Verb::Release, Verb::HandOver];
                let verb = verbs[self.rng.usize(..verbs.len())];
                let fault = match self.rng.u8(..4) {
                    0 => Fault::unavailable(),
                    1 => Fault::LoseAnswer,
                    2 => Fault::DelayAnswer(millis / 4),
                    _ => Fault::Late(millis / 4),
                };
                // Calls that a step awaits must end without the clock, which the step does not move.
                let ends = matches!(fault, Fault::Fail(_) | Fault::LoseAnswer);
                if ends || verb == Verb::TryAcquire {
                    self.faults.next(verb, 1, fault);
                }
                "fault"
            }
            14 => {
                self.clock.jump(millis);
                "jump"
            }
            _ => {
                self.clock.advance(millis / 4).await;
                "advance"
            }
        }
    }

    /// Lets everything happen that can happen now, and collects the guards of the acquisitions.
    async fn settle(&mut self) {
        self.clock.advance(Duration::ZERO).await;
        for (task, token) in std::mem::take(&mut self.waiting) {
            match task.is_finished() {
                true => self.guards.extend(task.await.unwrap()),
                false => self.waiting.push((task, token)),
            }
        }
        self.client.flush().await;
    }

    /// Compares the gauges with what the test holds.
    fn check(&self) {
        let schedule = &self.schedule;
        let held = self.guards.iter().filter(|guard| guard.is_held()).count();
        let acquiring = self.waiting.len();
        if let Some(gauges) = &self.gauges {
            let sums = gauges.0.lock().unwrap();
            assert!(sums.unbalanced.is_empty(), "{:?}, {schedule:?}", sums.unbalanced);
            assert_eq!(
                (sums.held.len(), sums.acquiring.len()),
                (held, acquiring),
                "by events, {schedule:?}"
            );
        }
        let counts = self.client.counts();
        assert_eq!(counts.acquiring, acquiring, "by the client, {schedule:?}");
        if self.gauges.is_some() {
            assert_eq!(counts.held, held, "by the client, {schedule:?}");
        } else {
            // Nobody has noticed the end of some leases.
            let guards = self.guards.len();
            assert!((held..=guards).contains(&counts.held), "{counts:?}, {schedule:?}");
        }
        assert_eq!(counts.events_dropped, 0);
    }

    /// Ends everything, and compares the requests that were reported with those that were made.
    async fn end(&mut self) {
        for (task, _) in self.waiting.drain(..) {
            task.abort();
            self.guards.extend(task.await.ok().and_then(Result::ok));
        }
        self.guards.clear();
        self.clock.advance(Duration::from_secs(300)).await;
        self.settle().await;
        self.check();
        assert_eq!(self.client.counts().held, 0);
        let Some(gauges) = &self.gauges else { return };
        let sums = gauges.0.lock().unwrap();
        assert!(sums.held.is_empty() && sums.acquiring.is_empty());
        for verb in [Verb::TryAcquire, Verb::Renew, Verb::Release, Verb::HandOver, Verb::Subscribe]
        {
            let reported = sums.requests.get(&verb).copied().unwrap_or_default();
            assert_eq!(reported, self.faults.count(verb), "requests: {verb}, {:?}", self.schedule);
        }
    }
}

#[tokio::test]
async fn gauges_from_events_and_the_counts_of_the_client_equal_what_is_held() {
    for seed in 0..400 {
        // Without an observer, no task notices the end of a lease.
        let mut world = World::new(seed, seed % 4 != 0);
        for _ in 0..40 {
            let step = world.step().await;
            world.schedule.1.push(step);
            world.settle().await;
            world.check();
        }
        world.end().await;
    }
}
