//! Random workers on a backend whose calls go wrong at random, in paused time: whatever happens,
//! exclusion and the order of tokens hold, and nothing stays locked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails by panicking, and tells what it has seen"
)]

use std::sync::Arc;
use std::time::Duration;

use lock_core::clock::{Clock, Moment, Sleep};
use lock_core::{Backoff, Fairness, LockClient, LockKey, OwnerToken, Result};
use lock_memory::{Call, Fault, Faults, MemoryProvider, Verb};
use lock_testkit::History;

const WORKERS: usize = 6;
const TURNS: usize = 12;

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Makes the same tokens for the same seed.
fn seeded(rng: fastrand::Rng) -> impl Fn() -> Result<OwnerToken> {
    let rng = std::sync::Mutex::new(rng);
    move || {
        let mut bits = [0; 16];
        rng.lock().unwrap().fill(&mut bits);
        Ok(OwnerToken::from_bits(bits))
    }
}

/// A clock that runs slow: what a holder must never have.
#[derive(Debug)]
struct Slow(Arc<dyn Clock>);

impl Clock for Slow {
    fn now(&self) -> Moment {
        Moment::from_start(self.0.now().since_start() / 2)
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        self.0.sleep_until(Moment::from_start(moment.since_start() * 2))
    }
}

fn a_fault(rng: &mut fastrand::Rng) -> (Verb, Fault) {
    use Verb::{HandOver, Release, Renew, Subscribe, TryAcquire};
    let verb = [TryAcquire, TryAcquire, Renew, Release, HandOver, HandOver, Subscribe];
    let fault = match rng.u8(..6) {
        0 => Fault::unavailable(),
        1 => Fault::LoseAnswer,
        2 => Fault::DelayAnswer(ms(rng.u64(1..400))),
        3 => Fault::Late(ms(rng.u64(1..1500))),
        4 => Fault::Panic,
        _ => Fault::MuteSubscription,
    };
    (verb[rng.usize(..verb.len())], fault)
}

struct Run {
    history: Arc<History>,
    calls: Vec<Call>,
    leaked: bool,
}

/// One run: the seed decides everything. With `slow_clock` holders measure their leases wrongly.
async fn run(seed: u64, slow_clock: bool) -> Run {
    let mut rng = fastrand::Rng::with_seed(seed);
    let (store, faults) = (MemoryProvider::new(), Faults::new());
    let key = LockKey::new("contended").unwrap();
    let true_clock = LockClient::new(store.clone()).clock().clone();
    // Two clients, each with a line of its own, as in two processes.
    let clients = [(); 2].map(|()| {
        let builder = LockClient::builder(faults.around(store.clone()))
            .owner_tokens(seeded(rng.fork()))
            .retry(Backoff::exponential(ms(5), ms(100)).full_jitter().seed(seed))
            .request_timeout(ms(150))
            .ttl(ms(600));
        let slow = || Slow(Arc::clone(&true_clock));
        if slow_clock { builder.clock(slow()).build() } else { builder.build() }.unwrap()
    });
    let history = Arc::new(History::new());
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let client = clients[number % clients.len()].clone();
            let (faults, key) = (faults.clone(), key.clone());
            let (history, clock, rng) = (Arc::clone(&history), true_clock.clone(), rng.fork());
            tokio::spawn(worker(client, faults, key, history, clock, rng))
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    faults.clear();
    // Everything that was late, and every undo, is over by then; long leases are not.
    true_clock.sleep(ms(5_000)).await;
    let free = LockClient::new(store).lock(&key).try_acquire().await;
    let free = free.map_err(|error| assert!(error.is_contended(), "{error}"));
    Run { history, calls: faults.calls(), leaked: free.is_err() }
}

async fn worker(
    client: LockClient,
    faults: Faults,
    key: LockKey,
    history: Arc<History>,
    clock: Arc<dyn Clock>,
    mut rng: fastrand::Rng,
) {
    use Fairness::{Fifo, Race, Turns};
    for _ in 0..TURNS {
        if rng.u8(..3) == 0 {
            let (verb, fault) = a_fault(&mut rng);
            faults.next(verb, rng.usize(1..4), fault);
        }
        let mut acquire = client.lock(&key).ttl(ms(rng.u64(200..1200))).wait_at_most(ms(2_000));
        if rng.bool() {
            acquire = acquire.auto_renew();
        }
        if rng.bool() {
            acquire = acquire.fairness(rng.choice([Race, Turns, Fifo]).unwrap());
        }
        let patience = clock.sleep(ms(rng.u64(1..4_000)));
        let guard = tokio::select! {
            biased;
            guard = acquire.acquire() => guard,
            () = patience => continue,
        };
        let Ok(guard) = guard else { continue };
        // Work in small steps, each only while the guard says held: what a careful holder does.
        let (from, mut last_held) = (clock.now(), clock.now());
        for _ in 0..rng.u32(0..40) {
            if !guard.is_held() {
                break;
            }
            last_held = clock.now();
            clock.sleep(ms(rng.u64(0..40))).await;
        }
        if guard.is_held() {
            last_held = clock.now();
        }
        history.held(&key, from, last_held, guard.fencing_token());
        match rng.u8(..4) {
            0 => drop(guard),
            1 => {
                let _ = tokio::time::timeout(ms(rng.u64(0..30)), guard.release()).await;
            }
            2 => {
                let _ = guard.renew_to(ms(rng.u64(50..900))).await;
                let _ = guard.release().await;
            }
            _ => {
                let _ = guard.release().await;
            }
        }
    }
}

fn in_paused_time<T>(run: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(run)
}

fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("LOCK_CHAOS_SEEDS").map_or(300, |count| count.parse().unwrap());
    0..count
}

fn silent_panics() {
    std::panic::set_hook(Box::new(|info| {
        let injected =
            info.payload().downcast_ref::<&str>().is_some_and(|text| *text == "injected");
        if !injected {
            eprintln!("{info}");
        }
    }));
}

#[test]
fn e1_f1_g5_random_faults_break_neither_exclusion_nor_tokens_nor_leave_a_key_locked() {
    silent_panics();
    let (mut holds, mut calls, mut handed) = (0, 0, 0);
    for seed in seeds() {
        let run = in_paused_time(run(seed, false));
        run.history.check().unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        assert!(!run.leaked, "seed {seed}: the key is still locked");
        holds += run.history.len();
        calls += run.calls.len();
        handed += run.calls.iter().filter(|call| call.verb == Verb::HandOver).count();
    }
    println!(
        "{} seeds: {holds} holds, {calls} calls, {handed} of them hand-overs: no overlap, no falling \
         token",
        seeds().end
    );
    assert!(holds > 1_000 && handed > 100, "too little to show anything: {holds} {handed}");
}

/// The negative control: the checks above find a holder that measures its lease wrongly.
#[test]
fn g1_a_holder_with_a_slow_clock_is_found() {
    silent_panics();
    let found = seeds().filter(|seed| in_paused_time(run(*seed, true)).history.check().is_err());
    assert!(found.take(1).count() == 1, "no run with a wrong clock was caught");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    silent_panics();
    for seed in 0..20 {
        let (first, second) = (in_paused_time(run(seed, false)), in_paused_time(run(seed, false)));
        let pairs = first.calls.iter().zip(&second.calls);
        let differing = pairs.enumerate().find(|(_, (one, other))| one != other);
        assert!(differing.is_none(), "seed {seed}: {differing:?}");
        assert_eq!(first.calls.len(), second.calls.len(), "seed {seed}");
    }
}
