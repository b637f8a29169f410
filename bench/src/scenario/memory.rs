//! S7 and S7b: our memory backend and other locks within one process. There is no server.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Layout, Scenario, Setting, TTL, run_together};
use crate::contender::{Contender, memory::lockable::Lockable, memory::mutex_map::MutexMap};
use crate::entry::Entry;
use crate::goal::{Bound::AtMost, ratio};
use crate::sample::Sample;
use crate::stats::{jain, micros, percentile};
use crate::team::Worker;
use crate::turn::check;
use crate::worker::{Cycle, Job, Task};

const MEAN: &str = "mean ns";

/// S7: no task waits.
pub(super) const UNCONTENDED: Scenario = Scenario {
    id: "s7",
    title: "S7 In memory: one task on its own key",
    layouts: &[Layout::new(1, 1)],
    rounds: (3, 9),
    measure,
    goals: &[ratio(MEAN, AtMost(3.0), Lockable::NAME)],
};

/// S7b: all tasks want the same key.
pub(super) const CONTENDED: Scenario = Scenario {
    id: "s7b",
    title: "S7b In memory: 16 tasks on one key, 0 ms each turn",
    layouts: &[Layout::new(1, 16)],
    rounds: (3, 9),
    measure,
    goals: &[ratio(MEAN, AtMost(2.0), MutexMap::NAME)],
};

/// Divides the window by the number of turns in it, because reading the clock takes as long as some
/// of these locks.
fn measure(setting: &Setting, entry: &'static Entry) -> Result<Sample> {
    let tasks = setting.layout.tasks;
    let cycle = Cycle {
        tasks,
        first: 0,
        shared: tasks > 1,
        hold: Duration::ZERO,
        window: Duration::from_millis(150),
    };
    let job = Job { url: String::new(), ttl: TTL, task: Task::Cycle(cycle) };
    let mut worker = [Worker::hire(entry, &job)?];
    let mut outcome = run_together(&mut worker)?.pop().context("there is no worker")?;

    let cycles = micros(outcome.turns.iter().map(|turn| turn.done - turn.asked));
    let mut shares = vec![0.0; tasks as usize];
    outcome.turns.iter().for_each(|turn| shares[turn.who as usize] += 1.0);
    let end = outcome.turns.iter().map(|turn| turn.done).max().unwrap_or(outcome.end);
    let mut sample = Sample::default();
    sample
        .metric(MEAN, (end - outcome.start) as f64 / cycles.len() as f64)
        .metric("p99 µs", percentile(&cycles, 0.99))
        .metric("Jain", jain(&shares))
        .never("the key was held already on entry", outcome.intruders)
        .never("not held on release", outcome.lost)
        .wrong(check(&mut outcome.turns));
    Ok(sample)
}
