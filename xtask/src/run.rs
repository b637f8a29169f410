//! Starts programs: shows each before it runs, and names it in the error if it fails.

use std::{
    env,
    io::{self, BufRead, BufReader, PipeReader},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// The result of a task. The error is a sentence for the user.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// How long [`stream`] waits for a line before it checks the time and the program.
const POLL: Duration = Duration::from_millis(200);

/// Prepares a cargo command from a line of words.
pub(crate) fn cargo(words: &str) -> Command {
    let mut command = command(&format!("cargo {words}"));
    // Cargo sets these for `xtask`. Build scripts that depend on them would notice a difference
    // from a plain `cargo build`, and their crates would be rebuilt.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Prepares a command from a line of words. It cannot read from the terminal.
pub(crate) fn command(words: &str) -> Command {
    let mut words = words.split_whitespace();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).stdin(Stdio::null());
    command
}

/// Shows a command, runs it, and fails if it fails.
pub(crate) fn run(mut command: Command) -> Result {
    show(&command);
    let status = command.status().map_err(|error| cannot_start(&command, &error))?;
    succeeded(&command, status)
}

/// Runs a command quietly and returns what it wrote to its standard output.
pub(crate) fn output(mut command: Command) -> Result<String> {
    let output = command.output().map_err(|error| cannot_start(&command, &error))?;
    succeeded(&command, output.status)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command, and passes each line of its two streams to `sink` in the order of writing.
///
/// Returns when the program has ended, even if a process that it left behind still holds the pipe.
///
/// # Errors
///
/// The program cannot be started, or was killed because it did not end within `limit`.
pub(crate) fn stream(
    mut command: Command,
    limit: Duration,
    mut sink: impl FnMut(&str),
) -> Result<ExitStatus> {
    let line = describe(&command);
    let failed = |error: io::Error| format!("cannot run `{line}`: {error}");
    let (reader, writer) = io::pipe().map_err(failed)?;
    command.stdout(writer.try_clone().map_err(failed)?).stderr(writer);
    let mut child = command.spawn().map_err(failed)?;
    drop(command); // This closes our ends for writing, so that the reader finds the end.

    let lines = lines(reader);
    let start = Instant::now();
    let mut ended = false;
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => sink(&line),
            Err(RecvTimeoutError::Disconnected) => break,
            // After the program has ended, its last lines may still arrive.
            Err(RecvTimeoutError::Timeout) if ended => break,
            Err(RecvTimeoutError::Timeout) => ended = child.try_wait().map_err(failed)?.is_some(),
        }
        if start.elapsed() > limit {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            return Err(format!("killed after {} s: `{line}`", limit.as_secs()));
        }
    }
    child.wait().map_err(failed)
}

/// Reads lines in a separate thread, for a caller that must not block.
fn lines(reader: PipeReader) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).split(b'\n').map_while(io::Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Prints a command.
pub(crate) fn show(command: &Command) {
    println!("$ {}", describe(command));
}

/// Spells a command as one would type it, with the variables that it sets.
fn describe(command: &Command) -> String {
    let variables = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={:?}", name.display(), value?)));
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let words = words.map(|word| word.to_string_lossy().into_owned());
    variables.chain(words).collect::<Vec<_>>().join(" ")
}

fn cannot_start(command: &Command, error: &io::Error) -> String {
    format!("cannot start `{}`: {error}", describe(command))
}

fn succeeded(command: &Command, status: ExitStatus) -> Result {
    if status.success() {
        return Ok(());
    }
    Err(format!("`{}` failed: {status}", describe(command)))
}
