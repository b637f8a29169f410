//! Installs libraries of other languages below `target/`, and measures our locks against them.

use std::process::ExitCode;

use crate::{
    bench,
    run::{Result, command, run},
};

/// Where `bench/src/scenario/mixed.rs` looks for the libraries.
const FOLDER: &str = "target/interop";

const PYTHON: &str = "redis==8.1.0";
const NODE: &str = "redlock@4.2.0 ioredis@6.0.0";

/// Installs the libraries from their ordinary registries, and runs the scenarios that need them.
pub(crate) fn interop(args: &[&str]) -> Result<ExitCode> {
    for words in [
        format!("python3 -m venv {FOLDER}/venv"),
        format!("{FOLDER}/venv/bin/python -m pip install --quiet {PYTHON}"),
        format!("npm install --prefix {FOLDER} --no-audit --no-fund --save-exact {NODE}"),
    ] {
        run(command(&words))?;
    }
    bench::bench(&[&["interop"], args].concat())
}
