//! S4: two hundred tasks wait for a key that stays held.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{Layout, Scenario, Setting, job};
use crate::entry::Entry;
use crate::goal::{Bound::AtMost, value};
use crate::monitor::Monitor;
use crate::sample::Sample;
use crate::server::Server;
use crate::team::Worker;
use crate::turn::Turn;
use crate::worker::{Job, Task, Usage, Wait};

/// Longer than the scenario, so that nothing is renewed and nothing expires.
const TTL: Duration = Duration::from_secs(60);

/// After this time all waiters wait.
const SETTLE: Duration = Duration::from_secs(1);

const COMMANDS: &str = "commands/s";
const CPU: &str = "client CPU %";
const CONNECTIONS: &str = "extra connections";

pub(super) const IDLE: Scenario = Scenario {
    id: "s4",
    title: "S4 200 waiters on a held key",
    layouts: &[Layout::new(1, 200)],
    rounds: (1, 2),
    measure,
    goals: &[
        value(COMMANDS, AtMost(2.0)),
        value(CPU, AtMost(0.5)),
        value(CONNECTIONS, AtMost(2.0)),
    ],
};

fn measure(setting: &Setting, entry: &'static Entry) -> Result<Sample> {
    let server = Server::start()?;
    let mut holder = Worker::hire(entry, &Job { ttl: TTL, ..job(&server, Task::Obey) })?;
    holder.go()?;
    holder.send("acquire")?;
    holder.reply::<Turn>()?;

    let wait = Task::Wait(Wait { tasks: setting.layout.tasks });
    let mut waiters = Worker::hire(entry, &Job { ttl: TTL, ..job(&server, wait) })?;
    let connected = server.clients()?;
    waiters.go()?;
    thread::sleep(SETTLE);

    let monitor = Monitor::start(&server)?;
    let before = usage(&mut waiters)?;
    thread::sleep(setting.choose(Duration::from_secs(5), Duration::from_secs(10)));
    let after = usage(&mut waiters)?;
    let commands = monitor.stop()?;
    let connections = server.clients()?.saturating_sub(connected);

    let nanos = (after.at - before.at) as f64;
    let mut sample = Sample::default();
    sample
        .metric(COMMANDS, f64::from(commands) / (nanos / 1e9))
        .metric(CPU, (after.cpu - before.cpu) as f64 / nanos * 100.0)
        .metric(CONNECTIONS, connections as f64)
        .never("granted although held", u32::try_from(after.granted)?);
    Ok(sample)
}

fn usage(worker: &mut Worker) -> Result<Usage> {
    worker.go()?;
    worker.reply()
}
