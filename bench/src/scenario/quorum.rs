//! V1 to V8: a quorum of five servers, without and with faults.

use std::time::Duration;

use anyhow::{Context, Result};

use super::{Layout, Scenario, Setting, TTL, run_together};
use crate::contender::{
    Contender, Role,
    distributed_lock::DistributedLock,
    floor::parallel::{Parallel, ParallelScripts},
    rslock::Rslock,
};
use crate::entry::Entry;
use crate::goal::{Bound, Goal, ratio, value};
use crate::proxy::Proxy;
use crate::sample::Sample;
use crate::server::Server;
use crate::stats::{micros, percentile};
use crate::team::Worker;
use crate::turn::check;
use crate::worker::{Answer, Attempt, Cycle, Job, Outcome, Task};

const NODES: usize = 5;
const MEDIAN: &str = "p50 µs";
const WORSE: &str = "× all up";
const SECOND: &str = "second trips %";
const GRANTED: &str = "granted";

/// Longer than a contender should take to report that there is no majority.
const LIMIT: Duration = Duration::from_secs(5);

/// The fault of the last server or servers.
#[derive(Clone, Copy)]
enum Fault {
    None,
    Frozen(usize),
    Dead,
    /// It was restarted without its data.
    Forgetful,
    /// Everything sent to it or from it is lost.
    CutOff,
    /// Everything sent to it or from it takes 50 ms longer.
    Slow,
}

const ONE: &[Layout] = &[Layout::new(1, 1)];

const fn scenario(
    id: &'static str,
    title: &'static str,
    measure: fn(&Setting, &'static Entry) -> Result<Sample>,
    goals: &'static [Goal],
) -> Scenario {
    Scenario { id, title, layouts: ONE, rounds: (2, 5), measure, goals }
}

const AS_WELL_AS_ALL: &[Goal] =
    &[value(GRANTED, Bound::AtLeast(1.0)), value(WORSE, Bound::AtMost(1.3))];

const BEFORE_THE_OTHERS: &[Goal] = &[
    value(GRANTED, Bound::AtLeast(1.0)),
    value(WORSE, Bound::AtMost(1.3)),
    ratio(MEDIAN, Bound::AtMost(1.0), Rslock::NAME),
    ratio(MEDIAN, Bound::AtMost(1.0), DistributedLock::NAME),
];

pub(super) const ALL_UP: Scenario = scenario(
    "v1",
    "V1 Quorum of five servers, acquire and release on its own key",
    |setting, entry| measure(setting, entry, Fault::None),
    &[
        ratio(MEDIAN, Bound::AtMost(1.3), Parallel::NAME),
        ratio(MEDIAN, Bound::AtMost(1.0), Rslock::NAME),
        ratio(MEDIAN, Bound::AtMost(1.0), DistributedLock::NAME),
        ratio(MEDIAN, Bound::AtMost(1.3), ParallelScripts::NAME),
        value(SECOND, Bound::AtMost(1.0)),
    ],
);

pub(super) const ONE_FROZEN: Scenario = scenario(
    "v2",
    "V2 Quorum of five, one of them frozen",
    |setting, entry| measure(setting, entry, Fault::Frozen(1)),
    BEFORE_THE_OTHERS,
);

pub(super) const ONE_DEAD: Scenario = scenario(
    "v3",
    "V3 Quorum of five, one of them dead",
    |setting, entry| measure(setting, entry, Fault::Dead),
    BEFORE_THE_OTHERS,
);

pub(super) const TWO_FROZEN: Scenario = scenario(
    "v4",
    "V4 Quorum of five, two of them frozen",
    |setting, entry| measure(setting, entry, Fault::Frozen(2)),
    AS_WELL_AS_ALL,
);

pub(super) const FORGETFUL: Scenario = scenario(
    "v5",
    "V5 Quorum of five, one of them restarted without its data",
    |setting, entry| measure(setting, entry, Fault::Forgetful),
    AS_WELL_AS_ALL,
);

pub(super) const CUT_OFF: Scenario = scenario(
    "v6",
    "V6 Quorum of five, one of them cut off",
    |setting, entry| measure(setting, entry, Fault::CutOff),
    AS_WELL_AS_ALL,
);

pub(super) const SLOW: Scenario = scenario(
    "v7",
    "V7 Quorum of five, one of them slow by 50 ms each way",
    |setting, entry| measure(setting, entry, Fault::Slow),
    AS_WELL_AS_ALL,
);

pub(super) const THREE_FROZEN: Scenario = scenario(
    "v8",
    "V8 Quorum of five, three of them frozen",
    refused,
    &[value(GRANTED, Bound::AtMost(0.0))],
);

/// Five servers. The last one is behind a proxy if the fault needs one.
struct Nodes {
    servers: Vec<Server>,
    proxy: Option<Proxy>,
}

impl Nodes {
    fn start(fault: Fault) -> Result<Self> {
        let servers = (0..NODES).map(|_| Server::start()).collect::<Result<Vec<_>>>()?;
        let last = servers.last().context("there is no server")?;
        let proxy = match fault {
            Fault::CutOff | Fault::Slow => Some(Proxy::to(last.port())?),
            _ => None,
        };
        Ok(Self { servers, proxy })
    }

    fn job(&self, task: Task) -> Job {
        let mut urls: Vec<_> = self.servers.iter().map(Server::url).collect();
        if let (Some(proxy), Some(last)) = (&self.proxy, urls.last_mut()) {
            *last = proxy.url();
        }
        Job { url: urls.join(","), ttl: TTL, task }
    }

    /// Causes the fault. Returns how many servers are without it.
    fn fail(&mut self, fault: Fault) -> Result<usize> {
        let last = NODES - 1;
        match fault {
            Fault::None => return Ok(NODES),
            Fault::Frozen(count) => {
                self.servers[NODES - count..].iter().try_for_each(Server::freeze)?;
                return Ok(NODES - count);
            }
            Fault::Dead => self.servers[last].kill(),
            Fault::Forgetful => self.servers[last].start_again()?,
            Fault::CutOff => self.proxy.iter().for_each(Proxy::discard),
            Fault::Slow => {
                self.proxy.iter().for_each(|proxy| proxy.slow_down(Duration::from_millis(50)));
            }
        }
        Ok(last)
    }

    fn raises(&self, of: usize) -> Result<u64> {
        self.servers[..of].iter().map(Server::raises).sum()
    }
}

/// Measures one task with its own key: first with all servers, then with the fault. Then two
/// processes of ours compete for one key, and exclusion and fencing are checked.
fn measure(setting: &Setting, entry: &'static Entry, fault: Fault) -> Result<Sample> {
    let mut nodes = Nodes::start(fault)?;
    let window = setting.choose(Duration::from_millis(300), Duration::from_millis(700));
    let alone = Cycle { tasks: 1, first: 0, shared: false, hold: Duration::ZERO, window };
    let hold = Duration::from_millis(1);
    let rival = |first| Cycle { tasks: 1, first, shared: true, hold, window };
    let hire = |cycle| Worker::hire(entry, &nodes.job(Task::Cycle(cycle)));
    let (mut before, mut after) = ([hire(alone.clone())?], hire(alone)?);
    let contends = entry.role == Role::Ours;
    let mut rivals = if contends { vec![hire(rival(1))?, hire(rival(2))?] } else { Vec::new() };

    let well = cycles(&run_together(&mut before)?);
    let left = nodes.fail(fault)?;
    let raises = nodes.raises(left)?;
    after.go()?;
    let ill = match after.reply_within(LIMIT) {
        // Another library may wait forever, and that is a result.
        Err(_) if entry.role == Role::Rival => return Ok(not_granted(LIMIT)),
        outcome => [outcome?],
    };
    let raises = nodes.raises(left)? - raises;
    let times = cycles(&ill);
    let mut contended = run_together(&mut rivals)?;

    let (count, median) = (times.len() as f64, percentile(&times, 0.5));
    let mut sample = Sample::default();
    sample
        .metric(GRANTED, 1.0)
        .metric(MEDIAN, median)
        .metric("p99 µs", percentile(&times, 0.99))
        .metric("client CPU µs", ill.iter().map(|one| one.cpu as f64).sum::<f64>() / 1e3 / count)
        .metric("worst ms", percentile(&times, 1.0) / 1e3)
        .metric(WORSE, median / percentile(&well, 0.5));
    if entry.role == Role::Ours {
        sample.metric(SECOND, raises as f64 / count * 100.0);
    }
    let mut turns: Vec<_> = contended.iter_mut().flat_map(|one| one.turns.drain(..)).collect();
    if contends {
        sample.metric("contended turns", turns.len() as f64).wrong(check(&mut turns));
    }
    for outcome in ill.iter().chain(&contended) {
        sample
            .never("the key was held already on entry", outcome.intruders)
            .never("not held on release", outcome.lost);
    }
    Ok(sample)
}

/// Returns how long each turn took, from before `acquire` to after `release`.
fn cycles(outcomes: &[Outcome]) -> Vec<f64> {
    let turns = outcomes.iter().flat_map(|outcome| &outcome.turns);
    micros(turns.map(|turn| turn.done - turn.asked))
}

/// Measures the time until a contender reports that it cannot be granted the key.
fn refused(_: &Setting, entry: &'static Entry) -> Result<Sample> {
    let mut nodes = Nodes::start(Fault::Frozen(3))?;
    let mut worker = Worker::hire(entry, &nodes.job(Task::Attempt(Attempt { limit: LIMIT * 3 })))?;
    nodes.fail(Fault::Frozen(3))?;
    worker.go()?;
    let Answer { granted, took } = worker.reply()?;
    let mut sample = not_granted(Duration::from_nanos(took));
    sample.metric(GRANTED, f64::from(u8::from(granted)));
    Ok(sample)
}

fn not_granted(after: Duration) -> Sample {
    let mut sample = Sample::default();
    sample.metric(GRANTED, 0.0).metric("until reported ms", after.as_secs_f64() * 1e3);
    sample
}
