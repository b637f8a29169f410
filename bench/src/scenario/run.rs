//! The jobs of workers, and letting the workers go together.

use std::time::Duration;

use anyhow::Result;

use crate::server::Server;
use crate::team::Worker;
use crate::worker::{Job, Outcome, Task};

/// The ttl, where it plays no part.
pub(super) const TTL: Duration = Duration::from_secs(10);

pub(super) fn job(server: &Server, task: Task) -> Job {
    Job { url: server.url(), ttl: TTL, task }
}

/// Starts the workers first and lets them go together, then hears each.
pub(super) fn run_together(workers: &mut [Worker]) -> Result<Vec<Outcome>> {
    workers.iter_mut().try_for_each(Worker::go)?;
    workers.iter_mut().map(Worker::reply).collect()
}
