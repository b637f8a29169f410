//! Makes the jobs of workers, and starts workers together.

use std::time::Duration;

use anyhow::Result;

use crate::server::Server;
use crate::team::Worker;
use crate::worker::{Job, Outcome, Task};

/// The ttl in scenarios that do not depend on it.
pub(super) const TTL: Duration = Duration::from_secs(10);

pub(super) fn job(server: &Server, task: Task) -> Job {
    Job { url: server.url(), ttl: TTL, task }
}

/// Starts the measurement of all workers, and then collects their results.
pub(super) fn run_together(workers: &mut [Worker]) -> Result<Vec<Outcome>> {
    workers.iter_mut().try_for_each(Worker::go)?;
    workers.iter_mut().map(Worker::reply).collect()
}
