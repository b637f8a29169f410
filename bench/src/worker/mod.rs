//! The jobs of workers: each is done by one process as one contender, step by step with its parent.

mod attempt;
mod cycle;
mod drain;
mod hold;
mod obey;
mod parent;
mod ping;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

pub(crate) use attempt::{Answer, Attempt};
pub(crate) use cycle::{Cycle, Outcome};
pub(crate) use drain::{Drain, Drained};
pub use hold::Meter;
pub(crate) use hold::{Hold, Holding, Released};
pub(crate) use parent::{Parent, Ready};
pub(crate) use ping::Ping;
pub(crate) use wait::{Usage, Wait};

use crate::contender::Contender;

/// What a worker does.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Job {
    pub(crate) url: String,
    pub(crate) ttl: Duration,
    pub(crate) task: Task,
}

/// The steps of a job. Each has a file with its name.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Task {
    Cycle(Cycle),
    Drain(Drain),
    Wait(Wait),
    Obey,
    Hold(Hold),
    Ping(Ping),
    Attempt(Attempt),
}

/// Does a job as one contender.
pub(crate) async fn work<C: Contender>(job: Job, mut parent: Parent, meter: Meter) -> Result<()> {
    let parent = &mut parent;
    if let Task::Ping(ping) = &job.task {
        return ping.work(&job.url, parent).await;
    }
    let lock = Arc::new(C::connect(&job.url, job.ttl).await?);
    // This loads the scripts and fills the caches before the measurement.
    for _ in 0..10 {
        let guard = lock.acquire(&format!("warm/{}", std::process::id())).await?;
        lock.release(guard).await?;
    }
    match &job.task {
        Task::Cycle(cycle) => cycle.work(lock, parent).await,
        Task::Drain(drain) => drain.work(lock, parent).await,
        Task::Wait(wait) => wait.work(lock, parent).await,
        Task::Obey => obey::work(lock, parent).await,
        Task::Hold(hold) => hold.work(lock, parent, meter).await,
        Task::Attempt(attempt) => attempt.work(lock, parent).await,
        Task::Ping(_) => Ok(()),
    }
}
