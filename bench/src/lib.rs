//! Measures our locks against floors and other crates. `README.md` describes what and how.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program speaks through its standard streams"
)]

mod args;
mod bench;
mod clock;
mod contender;
mod cores;
mod entry;
mod goal;
mod monitor;
mod package;
mod process;
mod proxy;
mod report;
mod sample;
mod scenario;
mod server;
mod stats;
mod team;
mod turn;
mod worker;

use std::process::ExitCode;

pub use bench::bench;
pub use process::main as worker;
pub use worker::Meter;

/// Reports the error, if there is one, and returns the exit code.
pub fn exit(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
