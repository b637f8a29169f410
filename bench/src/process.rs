//! The process of a worker, from the line with its job to its end.

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::entry::Entry;
use crate::worker::{Meter, Parent};

/// The number of threads of every worker's runtime, for every contender.
const THREADS: usize = 2;

/// Does the job that it reads from the standard input, as the contender that `args` names.
///
/// # Errors
///
/// The contender failed, or the parent process has ended.
pub fn main(args: &[String], meter: Meter) -> Result<ExitCode> {
    let name = args.first().context("a worker needs the name of a contender")?;
    let entry = Entry::named(name)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build()?;
    let mut parent = Parent::connect();
    // The work is a task: a future outside of one would be woken later, by another thread.
    let work = async move {
        let job = parent.receive().await?;
        let job = serde_json::from_str(&job).context("the first line is not a job")?;
        (entry.work)(job, parent, meter).await
    };
    runtime.block_on(runtime.spawn(work))??;
    Ok(ExitCode::SUCCESS)
}
