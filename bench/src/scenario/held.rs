//! S6: ten thousand locks held at the same time.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Layout, Scenario, Setting, job};
use crate::contender::{ours::Mode, ours::Plain, ours::Renewed};
use crate::entry::Entry;
use crate::goal::{Against, Bound::AtMost, Bound::NeverAbove, Goal, Whose};
use crate::sample::Sample;
use crate::server::Server;
use crate::stats::{largest, median};
use crate::team::Worker;
use crate::worker::{Hold, Holding, Job, Released, Task};

const LOCKS: usize = 10_000;

/// How long locks without renewal are held. Only their memory is measured.
const BRIEF: Duration = Duration::from_millis(500);

const BUCKET: Duration = Duration::from_millis(100);

const BYTES: &str = "bytes/lock";
const MISSED: &str = "missed";

pub(super) const HELD: Scenario = Scenario {
    id: "s6",
    title: "S6 10,000 held locks",
    layouts: &[Layout::new(1, 1)],
    rounds: (1, 1),
    measure,
    goals: &[
        at_most(Plain::NAME, BYTES, 400.0),
        at_most(Renewed::NAME, BYTES, 1024.0),
        Goal { bound: NeverAbove(0.0), ..at_most(Renewed::NAME, MISSED, 0.0) },
    ],
};

const fn at_most(whose: &'static str, metric: &'static str, limit: f64) -> Goal {
    Goal { whose: Whose::Only(whose), metric, bound: AtMost(limit), against: Against::Nothing }
}

fn measure(setting: &Setting, entry: &'static Entry) -> Result<Sample> {
    let server = Server::start()?;
    let renews = entry.name == Renewed::NAME;
    let ttl = if renews { setting.choose(2, 10) } else { 60 };
    let ttl = Duration::from_secs(ttl);
    let hold = Task::Hold(Hold { locks: LOCKS });
    let mut worker = Worker::hire_counting(entry, &Job { ttl, ..job(&server, hold) })?;
    worker.go()?;
    let holding: Holding = worker.reply()?;
    let calls = calls(&server, if renews { ttl * 3 } else { BRIEF })?;
    worker.go()?;
    let released: Released = worker.reply()?;

    let mut sample = Sample::default();
    sample
        .metric(BYTES, holding.bytes as f64 / LOCKS as f64)
        .metric(MISSED, (LOCKS - released.held) as f64)
        .metric("renewals/100 ms", median(&calls))
        .metric("busiest 100 ms", largest(&calls))
        .series("renewals", calls);
    Ok(sample)
}

/// Counts the calls of scripts in every tenth of a second.
fn calls(server: &Server, window: Duration) -> Result<Vec<f64>> {
    let (start, mut last) = (Instant::now(), server.script_calls()?);
    let mut calls = Vec::new();
    while start.elapsed() < window {
        let next = BUCKET * (u32::try_from(calls.len())? + 1);
        thread::sleep(next.saturating_sub(start.elapsed()));
        let now = server.script_calls()?;
        calls.push((now - last) as f64);
        last = now;
    }
    Ok(calls)
}
