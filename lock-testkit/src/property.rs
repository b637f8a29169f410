//! Random schedules of several owners, played on a backend and on the model.

use std::time::Duration;

use lock_core::backend::{Attempt, Busy, Grant, Release, Renewal, Ttl};
use lock_core::{Capability, LockKey};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};

use crate::Subject;
use crate::handle::Handle;
use crate::model::{Expected, Model};

const OWNERS: usize = 3;
const STEPS: usize = 50;

/// One step of a schedule. Owners are numbered; `Fresh` gives a number a new owner token.
#[derive(Clone, Copy, Debug)]
enum Step {
    Acquire(usize),
    Renew(usize, usize),
    Release(usize),
    Fresh(usize),
    Inspect,
    Pass(u64),
    Expire,
}

fn steps(subject: &Subject) -> impl Strategy<Value = Vec<Step>> + use<> {
    let owner = 0..OWNERS;
    let mut weighted = vec![
        (6, owner.clone().prop_map(Step::Acquire).boxed()),
        (3, (owner.clone(), 0..ttls(subject).len()).prop_map(|(o, t)| Step::Renew(o, t)).boxed()),
        (4, owner.clone().prop_map(Step::Release).boxed()),
        (2, owner.prop_map(Step::Fresh).boxed()),
        (1, Just(Step::Inspect).boxed()),
    ];
    if subject.is_virtual() {
        weighted.push((4, (1..20_000u64).prop_map(Step::Pass).boxed()));
    }
    if subject.can_expire() {
        weighted.push((2, Just(Step::Expire).boxed()));
    }
    vec(proptest::strategy::Union::new_weighted(weighted), 1..=STEPS)
}

/// The ttls of a schedule: short ones only where time is virtual, as nothing may expire by itself
/// between two steps on a slow machine.
fn ttls(subject: &Subject) -> &'static [u64] {
    if subject.is_virtual() { &[1, 2_000, 10_000, 60_000] } else { &[600_000, 900_000] }
}

/// Plays random schedules; a failing one is shrunk to its shortest form first.
///
/// `LOCK_TESTKIT_SCHEDULES` sets how many. The default is 10,000 in virtual time, 500 in real time.
pub(crate) async fn random_schedules(subject: &Subject) {
    let default = if subject.is_virtual() { 10_000 } else { 500 };
    let count = std::env::var("LOCK_TESTKIT_SCHEDULES")
        .map_or(default, |count| count.parse().expect("LOCK_TESTKIT_SCHEDULES is a number"));
    let mut runner = TestRunner::new(Config::default());
    let steps = steps(subject);
    for number in 0..count {
        let mut tree = steps.new_tree(&mut runner).expect("a schedule");
        let Err(mut why) = play(subject, number, 0, &tree.current()).await else { continue };
        let mut shortest = tree.current();
        let mut tries = 0;
        while tries < 500 && tree.simplify() {
            tries += 1;
            match play(subject, number, tries, &tree.current()).await {
                Err(again) => (why, shortest) = (again, tree.current()),
                Ok(()) if !tree.complicate() => break,
                Ok(()) => {}
            }
        }
        panic!("{why}\nafter the schedule {shortest:#?}");
    }
}

async fn play(subject: &Subject, number: u32, again: u32, steps: &[Step]) -> Result<(), String> {
    let key = subject.key(&format!("schedule {number}.{again}"));
    let mut players = Players::new(subject, key);
    for (at, step) in steps.iter().enumerate() {
        players.step(*step).await.map_err(|why| format!("step {at}, {step:?}: {why}"))?;
    }
    // A later schedule must not find this one's leases: keys differ, so only tidy up.
    for owner in 0..OWNERS {
        let _ = players.locks[owner].release().await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

struct Players<'a> {
    subject: &'a Subject,
    key: LockKey,
    /// The identity of each number, and its lock.
    names: [u64; OWNERS],
    locks: Vec<Handle>,
    next_name: u64,
    model: Model,
}

impl<'a> Players<'a> {
    fn new(subject: &'a Subject, key: LockKey) -> Self {
        let ttl = Duration::from_millis(ttls(subject)[1]);
        Self {
            locks: (0..OWNERS).map(|_| subject.lock(&key, ttl)).collect(),
            names: std::array::from_fn(|n| n as u64),
            next_name: OWNERS as u64,
            model: Model::default(),
            subject,
            key,
        }
    }

    async fn step(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Acquire(owner) => self.acquire(owner).await,
            Step::Renew(owner, ttl) => {
                let ttl = Duration::from_millis(ttls(self.subject)[ttl]);
                self.renew(owner, ttl).await
            }
            Step::Release(owner) => {
                let expected = self.model.release(self.names[owner]);
                let actual = self.locks[owner].release().await.map_err(|e| e.to_string())?;
                same(expected, actual == Release::Released)
            }
            Step::Fresh(owner) => {
                let ttl = self.locks[owner].claim().ttl().as_duration();
                self.locks[owner] = self.subject.lock(&self.key, ttl);
                self.names[owner] = self.next_name;
                self.next_name += 1;
                Ok(())
            }
            Step::Inspect => self.inspect().await,
            Step::Pass(millis) => {
                self.subject.pass(Duration::from_millis(millis)).await;
                self.model.pass(Duration::from_millis(millis));
                Ok(())
            }
            Step::Expire => {
                self.subject.expire(&self.key, Duration::ZERO).await;
                self.model.expire();
                Ok(())
            }
        }
    }

    async fn acquire(&mut self, owner: usize) -> Result<(), String> {
        let name = self.names[owner];
        let expected = self.model.expect_attempt(name);
        let actual = self.locks[owner].try_acquire().await.map_err(|e| e.to_string())?;
        let fits = match (expected, actual) {
            (Expected::NewGrant { above }, Attempt::Granted(Grant { fencing, .. })) => {
                fencing > above || !self.subject.has(Capability::Fencing)
            }
            (Expected::SameGrant { fencing: first }, Attempt::Granted(Grant { fencing, .. })) => {
                first == fencing
            }
            (Expected::Held { remaining }, Attempt::Held(Busy { remaining: told, .. })) => {
                told.is_none_or(|told| told <= remaining)
            }
            (Expected::Undone, Attempt::Undone) => true,
            (_, Attempt::Undone) => self.model.may_be_undone(name),
            _ => false,
        };
        if let Attempt::Granted(Grant { fencing, .. }) = actual {
            let ttl = self.locks[owner].claim().ttl().as_duration();
            self.model.granted(name, ttl, fencing);
        }
        if fits { Ok(()) } else { Err(format!("expected {expected:?}, got {actual:?}")) }
    }

    async fn renew(&mut self, owner: usize, ttl: Duration) -> Result<(), String> {
        let expected = self.model.renew(self.names[owner], ttl);
        let ttl = Ttl::new(ttl).map_err(|e| e.to_string())?;
        let actual = match self.locks[owner].renew(ttl).await.map_err(|e| e.to_string())? {
            Renewal::Renewed(grant) => Some(grant.fencing),
            Renewal::Lost => None,
        };
        same(expected, actual)
    }

    async fn inspect(&mut self) -> Result<(), String> {
        if !self.subject.has(Capability::Inspect) {
            return Ok(());
        }
        let expected = self.model.inspect();
        let actual = self.locks[0].inspect().await.map_err(|e| e.to_string())?;
        match (expected, actual) {
            (None, None) => Ok(()),
            (Some((name, remaining)), Some(holder)) => {
                let who = self.names.iter().position(|one| *one == name);
                if let Some(who) = who {
                    same(self.locks[who].claim().owner_token().fingerprint(), holder.owner())?;
                }
                match holder.remaining() {
                    Some(told) if told > remaining => {
                        Err(format!("{told:?} are left, at most {remaining:?} can be"))
                    }
                    _ => Ok(()),
                }
            }
            (expected, actual) => Err(format!("expected {expected:?}, got {actual:?}")),
        }
    }
}

fn same<T: PartialEq + std::fmt::Debug>(expected: T, actual: T) -> Result<(), String> {
    if expected == actual { Ok(()) } else { Err(format!("expected {expected:?}, got {actual:?}")) }
}
