//! Worker processes, as their parent sees them. A worker is killed when it is dropped.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

use crate::entry::Entry;
use crate::worker::{Job, Ready};

/// The time limit of each step of a job.
const PATIENCE: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub(crate) struct Worker {
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Worker {
    /// Starts a worker and waits until it is ready.
    pub(crate) fn hire(entry: &Entry, job: &Job) -> Result<Self> {
        Self::own(env::current_exe()?, entry, job)
    }

    /// Starts a worker as [`hire`](Worker::hire) does. This worker counts its memory.
    pub(crate) fn hire_counting(entry: &Entry, job: &Job) -> Result<Self> {
        let program = env::current_exe()?.with_file_name("counting-worker");
        ensure!(program.exists(), "`counting-worker` is not built; run `cargo xtask bench`");
        Self::own(program, entry, job)
    }

    /// Starts another program as a worker, and waits until it is ready. The program gets its job as
    /// arguments. After that, it exchanges the same lines as every worker.
    pub(crate) fn hire_program(name: &'static str, command: Command) -> Result<Self> {
        let mut worker = Self::start(name, command)?;
        worker.reply::<Ready>()?;
        Ok(worker)
    }

    fn own(program: PathBuf, entry: &Entry, job: &Job) -> Result<Self> {
        let mut command = Command::new(program);
        command.args(["worker", entry.name]);
        let mut worker = Self::start(entry.name, command)?;
        worker.send(&serde_json::to_string(job)?)?;
        worker.reply::<Ready>()?;
        Ok(worker)
    }

    fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.with_context(|| format!("a worker for `{name}` does not start"))?;
        let stdin = child.stdin.take().context("the worker has no standard input")?;
        let stdout = child.stdout.take().context("the worker has no standard output")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { name, child, stdin, lines })
    }

    pub(crate) fn send(&mut self, word: &str) -> Result<()> {
        let sent = self.stdin.write_all(format!("{word}\n").as_bytes());
        sent.with_context(|| format!("a worker for `{}` has ended", self.name))
    }

    pub(crate) fn go(&mut self) -> Result<()> {
        self.send("go")
    }

    pub(crate) fn reply<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.reply_within(PATIENCE)
    }

    pub(crate) fn reply_within<T: DeserializeOwned>(&mut self, limit: Duration) -> Result<T> {
        let line = self.lines.recv_timeout(limit);
        let line = line.with_context(|| format!("a worker for `{}` does not answer", self.name))?;
        serde_json::from_str(&line).with_context(|| format!("a worker for `{}`", self.name))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
