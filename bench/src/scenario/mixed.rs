//! S8, C1 and C2: our locks and a library that locks with plain `SET NX PX` compete for one key.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use super::{Layout, Scenario, Setting, TTL, job, run_together};
use crate::contender::{Contender, rslock::Rslock};
use crate::entry::Entry;
use crate::goal::{Bound::NeverAbove, Bound::NeverBelow, Goal, value};
use crate::package::package;
use crate::sample::Sample;
use crate::server::Server;
use crate::stats::{largest, smallest};
use crate::team::Worker;
use crate::turn::{Turn, check};
use crate::worker::{Cycle, Outcome, Task};

const HOLD: Duration = Duration::from_millis(10);

/// Equally many of both sides, and one of ours against three.
const LAYOUTS: &[Layout] = &[Layout::against(4, 4), Layout::against(1, 3)];

/// The names of the metrics of one side.
struct Side {
    turns: &'static str,
    fewest: &'static str,
    most: &'static str,
    worst: &'static str,
}

const OURS: Side = Side {
    turns: "ours: turns",
    fewest: "ours: fewest of one",
    most: "ours: most of one",
    worst: "ours: worst wait ms",
};

const THEIRS: Side = Side {
    turns: "theirs: turns",
    fewest: "theirs: fewest of one",
    most: "theirs: most of one",
    worst: "theirs: worst wait ms",
};

const GOALS: &[Goal] =
    &[value(OURS.worst, NeverAbove(1000.0)), value(THEIRS.fewest, NeverBelow(1.0))];

pub(super) const RSLOCK: Scenario = Scenario {
    id: "s8",
    title: "S8 Ours against rslock, 10 ms each turn",
    layouts: LAYOUTS,
    rounds: (1, 3),
    measure: |setting, entry| {
        measure(setting, entry, |server, cycle| {
            Worker::hire(Entry::named(Rslock::NAME)?, &job(server, Task::Cycle(cycle)))
        })
    },
    goals: GOALS,
};

pub(super) const REDIS_PY: Scenario = Scenario {
    id: "c1",
    title: "C1 Ours against redis-py, 10 ms each turn",
    measure: |setting, entry| {
        measure(setting, entry, |server, cycle| {
            script("redis-py", "venv/bin/python", "redis_py.py", server, &cycle)
        })
    },
    ..RSLOCK
};

pub(super) const NODE_REDLOCK: Scenario = Scenario {
    id: "c2",
    title: "C2 Ours against node-redlock, 10 ms each turn",
    measure: |setting, entry| {
        measure(setting, entry, |server, cycle| {
            script("node-redlock", "node", "node_redlock.mjs", server, &cycle)
        })
    },
    ..RSLOCK
};

fn measure(
    setting: &Setting,
    entry: &'static Entry,
    rival: fn(&Server, Cycle) -> Result<Worker>,
) -> Result<Sample> {
    let server = Server::start()?;
    let Layout { processes: ours, rivals, .. } = setting.layout;
    let window = setting.choose(Duration::from_secs(5), Duration::from_secs(20));
    let mut workers = Vec::new();
    for first in 0..ours + rivals {
        let cycle = Cycle { tasks: 1, first, shared: true, hold: HOLD, window };
        workers.push(if first < ours {
            Worker::hire(entry, &job(&server, Task::Cycle(cycle)))?
        } else {
            rival(&server, cycle)?
        });
    }
    Ok(evaluate(run_together(&mut workers)?, ours as usize, rivals as usize))
}

/// Starts a script of the folder `interop`, which does what [`Cycle`] does.
///
/// A program without `/` is looked up in `PATH`, any other one in the folder of the installed
/// libraries.
fn script(
    name: &'static str,
    program: &str,
    script: &str,
    server: &Server,
    cycle: &Cycle,
) -> Result<Worker> {
    let installed = fs::canonicalize(package().join("../target/interop"))
        .context("the libraries of other languages are not installed; run `cargo xtask interop`")?;
    let program = if program.contains('/') { installed.join(program) } else { program.into() };
    let mut command = Command::new(program);
    command.arg(fs::canonicalize(package().join("interop").join(script))?);
    command.args([&server.url(), "key/0"]);
    command.args([TTL, cycle.hold, cycle.window].map(|time| time.as_millis().to_string()));
    command.arg(cycle.first.to_string());
    command.current_dir(installed); // Node.js finds packages by folder.
    Worker::hire_program(name, command)
}

/// The window is the time in which every process ran. A contender that still waits at its end goes
/// on until its turn. That turn is checked, and its whole wait counts.
fn evaluate(outcomes: Vec<Outcome>, ours: usize, rivals: usize) -> Sample {
    let start = outcomes.iter().map(|one| one.start).max().unwrap_or_default();
    let end = outcomes.iter().map(|one| one.end).min().unwrap_or_default();
    let lost = outcomes.iter().map(|one| one.lost).sum();
    let mut turns: Vec<Turn> = outcomes.into_iter().flat_map(|one| one.turns).collect();
    let wrong = check(&mut turns);

    let mut inside = 0;
    let mut shares = vec![0.0; ours + rivals];
    let mut waits = shares.clone();
    for turn in &turns {
        let who = turn.who as usize;
        inside += turn.left.min(end).saturating_sub(turn.entered.max(start));
        if (start..end).contains(&turn.entered) {
            shares[who] += 1.0;
        }
        waits[who] = f64::max(waits[who], turn.waited() as f64 / 1e6);
    }
    let mut sample = Sample::default();
    sample
        .metric("utilisation", inside as f64 / (end - start) as f64)
        .series("turns", shares.clone())
        .never("not held on release", lost)
        .wrong(wrong);
    for (side, whose) in [(OURS, 0..ours), (THEIRS, ours..ours + rivals)] {
        let (shares, waits) = (&shares[whose.clone()], &waits[whose]);
        sample
            .metric(side.turns, shares.iter().sum())
            .metric(side.fewest, smallest(shares))
            .metric(side.most, largest(shares))
            .metric(side.worst, largest(waits));
    }
    sample
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(who: u32, turns: &[(u64, u64, u64)]) -> Outcome {
        let turn = |&(asked, entered, left)| Turn {
            key: 0,
            who,
            asked: asked * 1_000_000,
            entered: entered * 1_000_000,
            left: left * 1_000_000,
            done: left * 1_000_000,
            fencing: None,
        };
        let turns = turns.iter().map(turn).collect();
        Outcome { start: 0, end: 100_000_000, cpu: 0, intruders: 0, lost: 0, turns }
    }

    #[test]
    fn a_wait_beyond_the_window_counts_and_its_turn_does_not() {
        let ours = outcome(0, &[(0, 0, 50), (50, 50, 100)]);
        let theirs = outcome(1, &[(0, 130, 140)]);
        let sample = evaluate(vec![ours, theirs], 1, 1);
        let metric = |name| sample.metrics[name];
        assert_eq!((metric(OURS.turns), metric(OURS.worst)), (2.0, 0.0));
        assert_eq!((metric(THEIRS.fewest), metric(THEIRS.worst)), (0.0, 130.0));
        assert_eq!(metric("utilisation"), 1.0);
        assert!(sample.violations.is_empty());
    }

    #[test]
    fn an_overlap_between_the_sides_is_noticed() {
        let sample = evaluate(vec![outcome(0, &[(0, 0, 50)]), outcome(1, &[(0, 49, 60)])], 1, 1);
        assert_eq!(sample.violations.len(), 1);
    }
}
