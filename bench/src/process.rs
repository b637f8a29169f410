//! The process of a worker, from its first line of input to its end.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::entry::Entry;
use crate::worker::{Meter, Parent};

/// Threads of every worker's runtime, whoever it works for.
const THREADS: usize = 2;

/// Does the job that comes over the standard input, as the contender that `args` names.
///
/// # Errors
///
/// The contender failed or the parent went away.
pub fn main(args: &[String], meter: Meter) -> Result<ExitCode> {
    let name = args.first().context("a worker needs the name of a contender")?;
    let entry = Entry::named(name)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let mut parent = Parent::connect();
    // In a task: what is waited for outside of one is woken up later, by another thread.
    let work = async move {
        let job = parent.hear().await?;
        let job = serde_json::from_str(&job).context("not a job")?;
        (entry.work)(job, parent, meter).await
    };
    runtime.block_on(runtime.spawn(work))??;
    Ok(ExitCode::SUCCESS)
}
