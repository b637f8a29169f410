//! Runs the project's own tasks: `check`, `test`, `model`, `bench`, `figures`, `fix` and more.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program speaks through its standard streams"
)]

mod bench;
mod check;
mod interop;
mod manifest;
mod package;
mod redis;
mod run;
mod structure;
mod tally;
mod test;

use std::{env, path::Path, process::ExitCode};

use run::{Result, cargo, run};

const USAGE: &str = "\
usage: cargo xtask <command>

  check            format, lints, docs, imports, dependencies, MSRV, packages; changes no file of
                   the tree
  test [-- args]   every test and example; args go to `cargo test`
  model            the quorum protocol, exhaustively: minutes of work, up to 8 GB of memory
  bench [--quick] [scenario…]
                   measures our locks against floors and other crates; see bench/README.md
  interop [--quick]
                   measures our locks against libraries of Python and Node.js, which it installs
                   below target/
  figures          prints size, import cycles and branches as Markdown; checks nothing
  fix              applies the lints that can be applied, and formats
";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args[..] {
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        ["check"] => at_root().and_then(|()| check::check()),
        ["test"] => at_root().and_then(|()| test::test(&[])),
        ["test", "--", ref extra @ ..] => at_root().and_then(|()| test::test(extra)),
        ["model"] => at_root().and_then(|()| model()),
        ["bench", ref args @ ..] => at_root().and_then(|()| bench::bench(args)),
        ["interop", ref args @ ..] => at_root().and_then(|()| interop::interop(args)),
        ["figures"] => at_root().and_then(|()| figures()),
        ["fix"] => at_root().and_then(|()| fix()),
        _ => {
            eprint!("unknown command: {}\n\n{USAGE}", args.join(" "));
            return ExitCode::from(2);
        }
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("error: {error}");
        ExitCode::FAILURE
    })
}

/// Makes every path and command below relative to the root of the workspace.
fn at_root() -> Result {
    // What `cargo run` states comes first: a binary in a shared target folder may be of another
    // checkout.
    let xtask = env::var_os("CARGO_MANIFEST_DIR").unwrap_or(env!("CARGO_MANIFEST_DIR").into());
    let root = Path::new(&xtask).join("..");
    env::set_current_dir(&root).map_err(|error| format!("cannot enter {}: {error}", root.display()))
}

/// Checks the models, including those that need optimised code.
fn model() -> Result<ExitCode> {
    run(cargo(
        "test --release -p lock-quorum --lib model -- --include-ignored --show-output \
         --test-threads 1",
    ))?;
    Ok(ExitCode::SUCCESS)
}

/// Prints the figures that a restructuring should improve.
fn figures() -> Result<ExitCode> {
    structure::figures().map(|()| ExitCode::SUCCESS)
}

/// Applies the lints that clippy can apply. Then formats the tree, even if clippy failed.
fn fix() -> Result<ExitCode> {
    let lints = run(cargo(
        "clippy --fix --allow-dirty --allow-staged --workspace --all-targets --all-features",
    ));
    run(cargo("fmt --all"))?;
    lints.map(|()| ExitCode::SUCCESS)
}
