//! The lines between a worker and its parent: a worker receives words, and sends JSON.

use std::io::{self, BufRead, Write};
use std::thread;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// The parent, as its worker sees it.
#[derive(Debug)]
pub(crate) struct Parent(UnboundedReceiver<String>);

/// The worker has finished a step, and waits for `go`.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Ready;

impl Parent {
    /// Reads the standard input in a thread. When it ends, this process exits.
    pub(crate) fn connect() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        thread::spawn(move || {
            for line in io::stdin().lock().lines().map_while(io::Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
            std::process::exit(1);
        });
        Self(receiver)
    }

    /// Waits for the next line.
    pub(crate) async fn receive(&mut self) -> Result<String> {
        self.0.recv().await.context("the parent has ended")
    }

    /// Reports that it is ready, and waits for `go`.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        self.send(&Ready)?;
        self.go().await
    }

    pub(crate) async fn go(&mut self) -> Result<()> {
        let word = self.receive().await?;
        ensure!(word == "go", "received `{word}` instead of `go`");
        Ok(())
    }

    /// Sends one line.
    pub(crate) fn send(&self, what: &impl Serialize) -> Result<()> {
        let mut line = serde_json::to_vec(what)?;
        line.push(b'\n');
        let mut out = io::stdout().lock();
        out.write_all(&line)?;
        Ok(out.flush()?)
    }
}
