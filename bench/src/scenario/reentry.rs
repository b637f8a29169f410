//! S3a and S3b: sixteen tasks repeatedly acquire the same key.

use std::time::Duration;

use anyhow::Result;

use super::{SIXTEEN, Scenario, Setting, job, run_together};
use crate::contender::{Contender, ours::Fifo, ours::Mode, ours::Plain, rslock::Rslock};
use crate::entry::Entry;
use crate::goal::{
    Against, Bound::AtLeast, Bound::AtMost, Bound::NeverAbove, Goal, Whose, ratio, value,
};
use crate::sample::Sample;
use crate::server::Server;
use crate::stats::{jain, micros, percentile};
use crate::team::Worker;
use crate::turn::{Turn, check, gaps};
use crate::worker::{Cycle, Outcome, Task};

const UTILISATION: &str = "utilisation";
const STARVED: &str = "starved";
const WORST: &str = "worst wait ms";
const P99: &str = "p99 wait ms";
const JAIN: &str = "Jain";
const RATE: &str = "turns/s";

/// The wait of a task if the turns of the others follow each other without a gap.
const IDEAL_MS: f64 = 16.0 * 5.0;

/// Our lock that grants in the order of arrival.
const FIFO: Whose = Whose::Only(Fifo::NAME);

/// S3a: each turn lasts 5 ms.
pub(crate) const REENTRY: Scenario = Scenario {
    id: "s3a",
    title: "S3a Re-entry: 16 contenders, 5 ms each turn",
    layouts: SIXTEEN,
    rounds: (1, 3),
    measure: |setting, entry| {
        let window = setting.choose(Duration::from_secs(2), Duration::from_secs(5));
        measure(setting, entry, Duration::from_millis(5), window)
    },
    goals: &[
        value(UTILISATION, AtLeast(0.95)),
        of(Whose::Only(Plain::NAME), STARVED, NeverAbove(0.0)),
        of(Whose::Only(Plain::NAME), WORST, NeverAbove(10.0 * IDEAL_MS)),
        of(FIFO, JAIN, AtLeast(0.99)),
        of(FIFO, P99, AtMost(1.15 * IDEAL_MS)),
    ],
};

/// S3b: each turn ends at once.
pub(super) const RUSH: Scenario = Scenario {
    id: "s3b",
    title: "S3b Re-entry: 16 contenders, 0 ms each turn",
    layouts: SIXTEEN,
    rounds: (1, 3),
    measure: |setting, entry| {
        let window = setting.choose(Duration::from_millis(600), Duration::from_secs(3));
        measure(setting, entry, Duration::ZERO, window)
    },
    goals: &[ratio(RATE, AtLeast(1.8), Rslock::NAME), value(JAIN, AtLeast(0.99))],
};

const fn of(whose: Whose, metric: &'static str, bound: crate::goal::Bound) -> Goal {
    Goal { whose, metric, bound, against: Against::Nothing }
}

fn measure(
    setting: &Setting,
    entry: &'static Entry,
    hold: Duration,
    window: Duration,
) -> Result<Sample> {
    let server = Server::start()?;
    let layout = setting.layout;
    let mut workers = Vec::new();
    for process in 0..layout.processes {
        let (tasks, first) = (layout.tasks, process * layout.tasks);
        let cycle = Cycle { tasks, first, shared: true, hold, window };
        workers.push(Worker::hire(entry, &job(&server, Task::Cycle(cycle)))?);
    }
    let outcomes = run_together(&mut workers)?;
    Ok(evaluate(outcomes, (layout.processes * layout.tasks) as usize))
}

/// The window is the time in which every process ran. A turn that ends later is checked, and its
/// wait counts.
fn evaluate(outcomes: Vec<Outcome>, contenders: usize) -> Sample {
    let start = outcomes.iter().map(|one| one.start).max().unwrap_or_default();
    let end = outcomes.iter().map(|one| one.end).min().unwrap_or_default();
    let intruders = outcomes.iter().map(|one| one.intruders).sum();
    let lost = outcomes.iter().map(|one| one.lost).sum();
    let mut turns: Vec<Turn> = outcomes.into_iter().flat_map(|one| one.turns).collect();
    let wrong = check(&mut turns);

    let mut inside = 0;
    let mut shares = vec![0.0; contenders];
    for turn in &turns {
        inside += turn.left.min(end).saturating_sub(turn.entered.max(start));
        if (start..end).contains(&turn.entered) {
            shares[turn.who as usize] += 1.0;
        }
    }
    let waits: Vec<f64> =
        micros(turns.iter().map(Turn::waited)).iter().map(|wait| wait / 1e3).collect();
    let gaps = micros(gaps(&turns));
    let length = (end - start) as f64;
    let mut sample = Sample::default();
    sample
        .metric(UTILISATION, inside as f64 / length)
        .metric(RATE, shares.iter().sum::<f64>() / (length / 1e9))
        .metric(STARVED, shares.iter().filter(|share| **share == 0.0).count() as f64)
        .metric(JAIN, jain(&shares))
        .metric("gap p50 µs", percentile(&gaps, 0.5))
        .metric("gap max µs", percentile(&gaps, 1.0))
        .metric(P99, percentile(&waits, 0.99))
        .metric(WORST, percentile(&waits, 1.0))
        .series("turns", shares)
        .never("the key was held already on entry", intruders)
        .never("not held on release", lost)
        .wrong(wrong);
    sample
}
