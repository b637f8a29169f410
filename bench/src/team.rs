//! Worker processes, as their parent sees them. They end when they are dropped.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::de::DeserializeOwned;

use crate::contender::Entry;
use crate::worker::{Job, Ready};

/// How long any step of a job may take.
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
        Self::start(env::current_exe()?, entry, job)
    }

    /// As [`hire`](Worker::hire); the worker counts its memory.
    pub(crate) fn hire_counting(entry: &Entry, job: &Job) -> Result<Self> {
        let program = env::current_exe()?.with_file_name("counting-worker");
        ensure!(program.exists(), "build every program of this package: use `cargo xtask bench`");
        Self::start(program, entry, job)
    }

    fn start(program: PathBuf, entry: &Entry, job: &Job) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["worker", entry.name])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdin = child.stdin.take().context("no way to the worker")?;
        let stdout = child.stdout.take().context("no way from the worker")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(std::io::Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        let mut worker = Self { name: entry.name, child, stdin, lines };
        worker.tell(&serde_json::to_string(job)?)?;
        worker.reply::<Ready>()?;
        Ok(worker)
    }

    pub(crate) fn tell(&mut self, word: &str) -> Result<()> {
        let told = self.stdin.write_all(format!("{word}\n").as_bytes());
        told.with_context(|| format!("a worker for `{}` is gone", self.name))
    }

    pub(crate) fn go(&mut self) -> Result<()> {
        self.tell("go")
    }

    pub(crate) fn reply<T: DeserializeOwned>(&mut self) -> Result<T> {
        self.reply_within(PATIENCE)
    }

    pub(crate) fn reply_within<T: DeserializeOwned>(&mut self, limit: Duration) -> Result<T> {
        let line = self.lines.recv_timeout(limit);
        let line = line.with_context(|| format!("a worker for `{}` fell silent", self.name))?;
        serde_json::from_str(&line).with_context(|| format!("a worker for `{}`", self.name))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
