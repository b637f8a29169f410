//! Runs every test and every example on real servers, and counts the conformance cases.

use std::{
    env, fs, io,
    path::Path,
    process::{ExitCode, ExitStatus},
    time::{Duration, Instant},
};

use crate::{
    redis::{self, Variable},
    run::{Result, cargo, run, show, stream},
    tally::Tally,
};

/// The time limit of one example. It is built before.
const EXAMPLE_LIMIT: Duration = Duration::from_secs(60);

/// Runs the tests, and then the examples. Reports at the end what failed, and which servers still
/// run.
///
/// Returns the exit code of `cargo test` if that failed.
pub(crate) fn test(extra: &[&str]) -> Result<ExitCode> {
    let before = redis::running();
    let server = redis::ensure()?;

    let mut failures = Vec::new();
    let (status, tally) = tests(&server, extra)?;
    if !status.success() {
        failures.push(format!("cargo test: {status}"));
    } else if tally.is_empty() && extra.is_empty() {
        failures.push("no conformance case ran".to_owned());
    }
    failures.extend(examples(&server)?);
    failures.extend(redis::left_behind(&before));

    print!("\n== summary\n{tally}");
    for failure in &failures {
        println!("FAILED  {failure}");
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(match code {
        _ if failures.is_empty() => ExitCode::SUCCESS,
        Some(code) if code > 0 => ExitCode::from(code),
        _ => ExitCode::FAILURE,
    })
}

/// Runs `cargo test`, shows its output as it comes, and counts the conformance cases in it.
fn tests(server: &Variable, extra: &[&str]) -> Result<(ExitStatus, Tally)> {
    let mut test = cargo("test --workspace --all-features --no-fail-fast");
    // Colours would hide the headers from the tally.
    test.args(extra).envs(server.clone()).env("CARGO_TERM_COLOR", "never");
    // Most tests wait for a server or a clock, so more of them than there are cores can run.
    if env::var_os("RUST_TEST_THREADS").is_none() {
        test.env("RUST_TEST_THREADS", "16");
    }
    show(&test);

    let mut tally = Tally::default();
    let status = stream(test, Duration::MAX, |line| {
        println!("{line}");
        tally.read(line);
    })?;
    Ok((status, tally))
}

/// Runs every example. Returns the errors of those that failed.
fn examples(server: &Variable) -> Result<Vec<String>> {
    println!("\n== examples");
    let names = example_names().map_err(|error| format!("cannot list the examples: {error}"))?;
    if names.is_empty() {
        println!("there are none");
        return Ok(Vec::new());
    }
    if let Err(error) = run(cargo("build --package examples --examples")) {
        return Ok(vec![error]);
    }
    Ok(names.iter().filter_map(|name| example(name, server).err()).collect())
}

/// Lists the examples by their files.
fn example_names() -> io::Result<Vec<String>> {
    let folders = ["examples/examples", "examples"].map(Path::new);
    let Some(folder) = folders.into_iter().find(|folder| folder.is_dir()) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Runs one example. Prints its output only if it fails.
fn example(name: &str, server: &Variable) -> Result {
    let mut example = cargo(&format!("run --quiet --package examples --example {name}"));
    example.envs(server.clone());

    let start = Instant::now();
    let mut output = String::new();
    let outcome = stream(example, EXAMPLE_LIMIT, |line| {
        output += line;
        output.push('\n');
    });
    let seconds = start.elapsed().as_secs_f32();
    let error = match outcome {
        Ok(status) if status.success() => {
            println!("example {name}: ok, {seconds:.1} s");
            return Ok(());
        }
        Ok(status) => status.to_string(),
        Err(error) => error,
    };
    print!("example {name}: failed, {seconds:.1} s: {error}\n{output}");
    Err(format!("example {name}: {error}"))
}
