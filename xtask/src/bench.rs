//! Runs the benchmarks. They are a package outside the workspace, so that the libraries in the
//! comparison are no dependencies of the workspace.

use std::process::ExitCode;

use crate::run::{Result, cargo, run};

/// Builds every program of the benchmarks, and runs them with the given arguments.
pub(crate) fn bench(args: &[&str]) -> Result<ExitCode> {
    run(cargo("build --release --manifest-path bench/Cargo.toml"))?;
    let mut bench = cargo("run --quiet --release --manifest-path bench/Cargo.toml --");
    bench.args(args);
    run(bench).map(|()| ExitCode::SUCCESS)
}
