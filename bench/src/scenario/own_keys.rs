//! S1 and S2: every task has its own key, so no task waits.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Layout, Scenario, Setting, job, run_together};
use crate::contender::{
    Contender, distributed_lock::DistributedLock, floor::same_script::SameScript, rslock::Rslock,
};
use crate::cores::OneCore;
use crate::entry::Entry;
use crate::goal::{Bound::AtLeast, Bound::AtMost, ratio};
use crate::sample::Sample;
use crate::server::Server;
use crate::stats::{micros, percentile};
use crate::team::Worker;
use crate::turn::check;
use crate::worker::{Cycle, Task};

const MEDIAN: &str = "p50 µs";
const RATE: &str = "cycles/s";
const CPU: &str = "client CPU µs";

/// S1: one task, on the same core as its server.
pub(super) const ALONE: Scenario = Scenario {
    id: "s1",
    title: "S1 One client, acquire and release on its own key",
    layouts: &[Layout::new(1, 1)],
    rounds: (3, 9),
    measure,
    goals: &[
        ratio(MEDIAN, AtMost(1.05), SameScript::NAME),
        ratio(MEDIAN, AtMost(1.0), Rslock::NAME),
        ratio(MEDIAN, AtMost(1.0), DistributedLock::NAME),
    ],
};

/// S2: 64 tasks.
pub(super) const MANY: Scenario = Scenario {
    id: "s2",
    title: "S2 64 tasks, each on its own key",
    layouts: &[Layout::new(1, 64)],
    rounds: (3, 9),
    measure,
    goals: &[
        ratio(RATE, AtLeast(0.95), SameScript::NAME),
        ratio(RATE, AtLeast(1.0), Rslock::NAME),
        ratio(RATE, AtLeast(2.0), DistributedLock::NAME),
        ratio(CPU, AtMost(1.0), Rslock::NAME),
    ],
};

fn measure(setting: &Setting, entry: &'static Entry) -> Result<Sample> {
    let _one_core = if setting.layout.tasks == 1 { Some(OneCore::enter()?) } else { None };
    let server = Server::start()?;
    let cycle = Cycle {
        tasks: setting.layout.tasks,
        first: 0,
        shared: false,
        hold: Duration::ZERO,
        window: setting.choose(Duration::from_millis(400), Duration::from_secs(1)),
    };
    let mut worker = [Worker::hire(entry, &job(&server, Task::Cycle(cycle)))?];
    let mut outcome = run_together(&mut worker)?.pop().context("there is no worker")?;

    let cycles = micros(outcome.turns.iter().map(|turn| turn.done - turn.asked));
    let end = outcome.turns.iter().map(|turn| turn.done).max().unwrap_or(outcome.end);
    let seconds = (end - outcome.start) as f64 / 1e9;
    let mut sample = Sample::default();
    sample
        .metric(MEDIAN, percentile(&cycles, 0.5))
        .metric("p99 µs", percentile(&cycles, 0.99))
        .metric(RATE, cycles.len() as f64 / seconds)
        .metric(CPU, outcome.cpu as f64 / 1e3 / cycles.len() as f64)
        .never("the key was held already on entry", outcome.intruders)
        .never("not held on release", outcome.lost)
        .wrong(check(&mut outcome.turns));
    Ok(sample)
}
