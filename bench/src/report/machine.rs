//! The machine and the versions with which the numbers were measured.

use std::collections::BTreeMap;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result};
use serde::Serialize;

/// The lock file, with the versions that this program was built with.
const LOCK_FILE: &str = include_str!("../../Cargo.lock");

const CRATES: [&str; 7] =
    ["lock-core", "lock-redis", "redis", "tokio", "rslock", "distributed-lock-redis", "lockable"];

/// The machine and the versions of everything that matters.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) system: String,
    pub(crate) cores: usize,
    pub(crate) server: String,
    pub(crate) rustc: String,
    pub(crate) crates: BTreeMap<&'static str, String>,
}

impl Machine {
    pub(crate) fn describe() -> Result<Self> {
        let uname = rustix::system::uname();
        let system = [uname.sysname(), uname.machine()];
        let version = |name| Some((name, version(LOCK_FILE, name)?.to_owned()));
        Ok(Self {
            system: system.map(|part| part.to_string_lossy().into_owned()).join(" "),
            cores: thread::available_parallelism()?.get(),
            server: server()?,
            rustc: output("rustc")?.trim().to_owned(),
            crates: CRATES.into_iter().filter_map(version).collect(),
        })
    }
}

/// Returns the version of the server. The line reads
/// `Redis server v=7.0.15 sha=… malloc=… bits=64 build=…`.
fn server() -> Result<String> {
    let line = output("redis-server")?;
    let version = line.split_whitespace().find_map(|word| word.strip_prefix("v="));
    Ok(format!("redis-server {}", version.unwrap_or(line.trim())))
}

fn output(program: &str) -> Result<String> {
    let output = Command::new(program).arg("--version").output();
    let output = output.with_context(|| format!("`{program} --version`"))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Finds the version of a crate in a lock file.
fn version<'a>(lock_file: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = lock_file.lines();
    lines.find(|line| *line == format!("name = \"{name}\""))?;
    lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_that_is_named_in_the_report_has_a_version() {
        assert!(CRATES.iter().all(|name| version(LOCK_FILE, name).is_some()));
    }
}
