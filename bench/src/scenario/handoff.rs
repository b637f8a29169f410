//! S5: one process releases a key for which another one waits.

use std::thread;
use std::time::Duration;

use anyhow::Result;

use super::{Layout, Scenario, Setting, job};
use crate::entry::Entry;
use crate::goal::{Bound::AtMost, value};
use crate::sample::Sample;
use crate::server::Server;
use crate::stats::{median, micros, percentile};
use crate::team::Worker;
use crate::turn::{Turn, check, gaps};
use crate::worker::{Ping, Task};

/// The minimum time that the other one has waited. A random time is added, so that the release is
/// not in step with the pauses of a contender.
const SETTLE: Duration = Duration::from_millis(10);
const SETTLE_VARIES_MS: u64 = 20;

const PINGS: usize = 100;

const RATIO: &str = "p50 / PING";

pub(crate) const HANDOFF: Scenario = Scenario {
    id: "s5",
    title: "S5 Hand-off to a waiter in another process",
    layouts: &[Layout::new(2, 1)],
    rounds: (1, 5),
    measure,
    goals: &[value(RATIO, AtMost(2.5))],
};

fn measure(setting: &Setting, entry: &'static Entry) -> Result<Sample> {
    let server = Server::start()?;
    let rushed = pinger(&server, entry, PINGS)?.ping()?;
    let (mut turns, pings) = hand_over(&server, entry, setting.choose(20, 80))?;
    let wrong = check(&mut turns);
    let gaps = micros(gaps(&turns));
    let (ping, rushed) = (median(&pings), median(&rushed));
    let mut sample = Sample::default();
    sample
        .metric("p10 µs", percentile(&gaps, 0.1))
        .metric("p50 µs", percentile(&gaps, 0.5))
        .metric("p90 µs", percentile(&gaps, 0.9))
        .metric("p99 µs", percentile(&gaps, 0.99))
        .metric("PING µs", ping)
        .metric("PING in a rush µs", rushed)
        .metric(RATIO, percentile(&gaps, 0.5) / ping)
        .series("gaps µs", gaps)
        .wrong(wrong);
    Ok(sample)
}

/// A worker that measures the time of `PING`.
struct Pinger(Worker);

fn pinger(server: &Server, entry: &'static Entry, count: usize) -> Result<Pinger> {
    Ok(Pinger(Worker::hire(entry, &job(server, Task::Ping(Ping { count })))?))
}

impl Pinger {
    fn ping(&mut self) -> Result<Vec<f64>> {
        self.0.go()?;
        Ok(micros(self.0.reply::<Vec<u64>>()?))
    }
}

/// Lets two processes take turns. Between two turns, a third process measures a `PING`, after a
/// pause like that before a release. Returns the turns and the times of `PING`.
fn hand_over(
    server: &Server,
    entry: &'static Entry,
    count: usize,
) -> Result<(Vec<Turn>, Vec<f64>)> {
    let hire = || Worker::hire(entry, &job(server, Task::Obey));
    let (mut holder, mut waiter, mut pinger) = (hire()?, hire()?, pinger(server, entry, 1)?);
    holder.go()?;
    waiter.go()?;
    holder.send("acquire")?;
    holder.reply::<Turn>()?;
    let (mut turns, mut pings) = (Vec::new(), Vec::new());
    for _ in 0..=count {
        thread::sleep(SETTLE);
        pings.append(&mut pinger.ping()?);
        waiter.send("acquire")?;
        thread::sleep(SETTLE + Duration::from_millis(fastrand::u64(..SETTLE_VARIES_MS)));
        holder.send("release")?;
        turns.push(holder.reply()?);
        waiter.reply::<Turn>()?;
        std::mem::swap(&mut holder, &mut waiter);
    }
    Ok((turns, pings))
}
