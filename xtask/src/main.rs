//! Runs the project's own tasks: `check`, `test` and `fix`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line program speaks through its standard streams"
)]

mod check;
mod package;
mod redis;
mod run;
mod tally;
mod test;

use std::{env, process::ExitCode};

use run::{Result, cargo, run};

const USAGE: &str = "\
usage: cargo xtask <command>

  check            format, lints, docs, dependencies, MSRV, packages; changes no file of the tree
  test [-- args]   every test and example; args go to `cargo test`
  fix              formats, and applies the lints that can be applied
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
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    env::set_current_dir(root).map_err(|error| format!("cannot enter {root}: {error}"))
}

/// Formats the tree, and applies what clippy can apply.
fn fix() -> Result<ExitCode> {
    run(cargo("fmt --all"))?;
    run(cargo(
        "clippy --fix --allow-dirty --allow-staged --workspace --all-targets --all-features",
    ))?;
    Ok(ExitCode::SUCCESS)
}
