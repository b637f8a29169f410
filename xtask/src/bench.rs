//! Runs the benchmarks, a package outside the workspace: what we are compared with is no
//! dependency.

use std::process::ExitCode;

use crate::run::{Result, cargo, run};

/// Builds every program of the benchmarks, and runs them with the arguments given.
pub(crate) fn bench(args: &[&str]) -> Result<ExitCode> {
    run(cargo("build --release --manifest-path bench/Cargo.toml"))?;
    let mut bench = cargo("run --quiet --release --manifest-path bench/Cargo.toml --");
    bench.args(args);
    run(bench).map(|()| ExitCode::SUCCESS)
}
