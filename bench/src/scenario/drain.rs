//! S3: sixteen tasks wait for a held key. It is released, and each holds it once.

use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{SIXTEEN, Scenario, Setting, job};
use crate::contender::{Contender, floor::publish::Publish, floor::store_queue::StoreQueue};
use crate::entry::Entry;
use crate::goal::{Against, Bound::AtLeast, Bound::AtMost, Goal, Whose, value};
use crate::monitor::Monitor;
use crate::sample::Sample;
use crate::server::Server;
use crate::stats::{micros, percentile};
use crate::team::Worker;
use crate::turn::{Turn, check, gaps};
use crate::worker::{Drain, Drained, Ready, Task};

const HOLD: Duration = Duration::from_millis(5);

/// After this time all waiters wait. A random time is added, so that the release is not in step
/// with the pauses of a contender.
const SETTLE: Duration = Duration::from_millis(200);
const SETTLE_VARIES_MS: u64 = 100;

const EFFICIENCY: &str = "efficiency";
const GAP: &str = "gap p50 µs";
const COMMANDS: &str = "commands";

pub(crate) const DRAIN: Scenario = Scenario {
    id: "s3",
    title: "S3 Drain: 16 waiters behind a held key, 5 ms each",
    layouts: SIXTEEN,
    rounds: (2, 7),
    measure,
    goals: &[
        value(EFFICIENCY, AtLeast(0.95)),
        Goal {
            whose: Whose::Every,
            metric: GAP,
            bound: AtMost(1.25),
            against: Against::Better(&[StoreQueue::NAME, Publish::NAME]),
        },
        value(COMMANDS, AtMost(4.0)),
    ],
};

fn measure(setting: &Setting, entry: &'static Entry) -> Result<Sample> {
    let (mut turns, _) = drain(setting, entry, false)?;
    let mut wrong = check(&mut turns);
    let (mut again, commands) = drain(setting, entry, true)?;
    wrong.append(&mut check(&mut again));

    let released = turns.first().context("there was no turn")?.left;
    let end = turns.last().context("there was no turn")?.left;
    let held: u64 = turns[1..].iter().map(Turn::held).sum();
    let gaps = micros(gaps(&turns));
    let mut sample = Sample::default();
    sample
        .metric(EFFICIENCY, held as f64 / (end - released) as f64)
        .metric("gap p10 µs", percentile(&gaps, 0.1))
        .metric(GAP, percentile(&gaps, 0.5))
        .metric("gap p90 µs", percentile(&gaps, 0.9))
        .metric("gap max µs", percentile(&gaps, 1.0))
        .metric(COMMANDS, f64::from(commands) / (turns.len() - 1) as f64)
        .series("gaps µs", gaps)
        .wrong(wrong);
    Ok(sample)
}

/// Returns every turn. Also returns how many commands were sent since the waiters arrived, if
/// `count` is set.
fn drain(setting: &Setting, entry: &'static Entry, count: bool) -> Result<(Vec<Turn>, u32)> {
    let server = Server::start()?;
    let mut workers = Vec::new();
    for process in 0..setting.layout.processes {
        let drain = Drain {
            tasks: setting.layout.tasks,
            first: 1 + process * setting.layout.tasks,
            hold: HOLD,
            holds: process == 0,
        };
        workers.push(Worker::hire(entry, &job(&server, Task::Drain(drain)))?);
    }
    let monitor = if count { Some(Monitor::start(&server)?) } else { None };
    for worker in &mut workers {
        worker.go()?;
        worker.reply::<Ready>()?;
    }
    thread::sleep(SETTLE + Duration::from_millis(fastrand::u64(..SETTLE_VARIES_MS)));
    workers.iter_mut().try_for_each(Worker::go)?;
    let mut turns = Vec::new();
    for worker in &mut workers {
        turns.append(&mut worker.reply::<Drained>()?.turns);
    }
    let commands = monitor.map_or(Ok(0), Monitor::stop)?;
    Ok((turns, commands))
}
