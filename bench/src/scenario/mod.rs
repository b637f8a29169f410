//! What is measured: one file per scenario, and what the contended ones share.

mod drain;
mod handoff;
mod held;
mod idle;
mod memory;
mod mixed;
mod own_keys;
mod quorum;
mod reentry;

use std::time::Duration;

use anyhow::Result;

use crate::contender::{ALL as CONTENDERS, Entry};
use crate::goal::Goal;
use crate::sample::Sample;
use crate::server::Server;
use crate::team::Worker;
use crate::worker::{Job, Outcome, Task};

pub(crate) use drain::DRAIN;
pub(crate) use handoff::HANDOFF;
pub(crate) use reentry::REENTRY;

/// Every scenario, in the order of the tables.
pub(crate) const ALL: &[Scenario] = &[
    own_keys::ALONE,
    own_keys::MANY,
    DRAIN,
    REENTRY,
    reentry::RUSH,
    idle::IDLE,
    HANDOFF,
    held::HELD,
    memory::UNCONTENDED,
    memory::CONTENDED,
    mixed::RSLOCK,
    mixed::REDIS_PY,
    mixed::NODE_REDLOCK,
    quorum::ALL_UP,
    quorum::ONE_FROZEN,
    quorum::ONE_DEAD,
    quorum::TWO_FROZEN,
    quorum::FORGETFUL,
    quorum::CUT_OFF,
    quorum::SLOW,
    quorum::THREE_FROZEN,
];

/// Something to measure for every contender that takes part in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// How the tasks are spread over processes, where that matters.
    pub(crate) layouts: &'static [Layout],
    /// How many rounds, quick and full.
    pub(crate) rounds: (usize, usize),
    pub(crate) measure: fn(&Setting, &'static Entry) -> Result<Sample>,
    pub(crate) goals: &'static [Goal],
}

impl Scenario {
    pub(crate) fn contenders(&self) -> Vec<&'static Entry> {
        CONTENDERS.iter().filter(|one| one.plays.contains(&self.id)).collect()
    }
}

/// How many processes, and how many tasks in each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) processes: u32,
    pub(crate) tasks: u32,
    /// How many processes of another library compete, with one task each.
    pub(crate) rivals: u32,
}

impl Layout {
    const fn new(processes: u32, tasks: u32) -> Self {
        Self { processes, tasks, rivals: 0 }
    }

    /// Processes with one task each, ours and those of another library.
    const fn against(ours: u32, rivals: u32) -> Self {
        Self { processes: ours, tasks: 1, rivals }
    }

    pub(crate) fn name(self) -> String {
        match self.rivals {
            0 => format!("{} × {}", self.processes, self.tasks),
            rivals => format!("{} against {rivals}", self.processes),
        }
    }
}

/// Sixteen, in one process and in two.
pub(crate) const SIXTEEN: &[Layout] = &[Layout::new(1, 16), TWO_PROCESSES];

pub(crate) const TWO_PROCESSES: Layout = Layout::new(2, 8);

/// How a scenario is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) quick: bool,
    pub(crate) layout: Layout,
}

impl Setting {
    fn choose<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// The ttl, where it plays no part.
const TTL: Duration = Duration::from_secs(10);

fn job(server: &Server, task: Task) -> Job {
    Job { url: server.url(), ttl: TTL, task }
}

/// Starts the workers first and lets them go together, then hears each.
fn run_together(workers: &mut [Worker]) -> Result<Vec<Outcome>> {
    workers.iter_mut().try_for_each(Worker::go)?;
    workers.iter_mut().map(Worker::reply).collect()
}
