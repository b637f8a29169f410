//! Starts programs: shows each before it runs, names it in the error when it fails.

use std::{
    env,
    io::{self, BufRead, BufReader, PipeReader},
    process::{Command, ExitStatus, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

/// The result of a task; the error is a sentence for the person at the terminal.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// How long [`stream`] waits for a line before it looks at the clock and at the program.
const POLL: Duration = Duration::from_millis(200);

/// Prepares a cargo command from a line of words.
pub(crate) fn cargo(words: &str) -> Command {
    let mut command = command(&format!("cargo {words}"));
    // These describe `xtask` to itself. Build scripts that watch them would take the difference
    // from a plain `cargo build` for a change, and build their crates anew.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Prepares a command from a line of words; nothing it starts can ask a question.
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

/// Runs a command and hands each line of its two streams to `sink`, in the order written.
///
/// Returns when the program has ended, even if a process it left behind still holds the pipe.
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
    drop(command); // With it go our writing ends, so that the reader sees the end.

    let lines = lines(reader);
    let start = Instant::now();
    let mut ended = false;
    loop {
        match lines.recv_timeout(POLL) {
            Ok(line) => sink(&line),
            Err(RecvTimeoutError::Disconnected) => break,
            // One more silent wait after the end, for what was written last.
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

/// Reads lines in a thread of their own, for a caller that must not block on them.
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

/// Shows a command as one would type it.
pub(crate) fn show(command: &Command) {
    println!("$ {}", describe(command));
}

/// Spells a command as one would type it, with the variables it sets.
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
