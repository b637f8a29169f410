//! Finds or installs the server that the tests start, and finds servers that they left running.

use std::{
    collections::BTreeSet,
    env, fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::run::{Result, command, output, run};

/// The oldest major version of Redis for which the scripts are written.
const MINIMUM: u32 = 7;

/// The variable that names the server for the tests if it is not `redis-server`.
const VARIABLE: &str = "LOCK_TEST_REDIS_SERVER";

/// How long a server may take to stop.
const GRACE: Duration = Duration::from_secs(2);

/// A variable that the tests need, if they need one.
pub(crate) type Variable = Option<(&'static str, String)>;

/// Makes sure that the tests find a server and `openssl`, and installs them if possible.
///
/// # Errors
///
/// Something is missing and cannot be installed, or the server is too old.
pub(crate) fn ensure() -> Result<Variable> {
    let missing = missing();
    if !missing.is_empty() {
        install(&missing)?;
    }
    let (name, version) = server().ok_or("a server was installed, but it is not on the PATH")?;
    let version = version.trim();
    match major(version) {
        Some(major) if major >= MINIMUM => println!("{name}: {version}"),
        _ => return Err(format!("{name} is too old, {MINIMUM} or later is needed: {version}")),
    }
    Ok((name != "redis-server").then_some((VARIABLE, name)))
}

/// Lists what is missing, by the names of the Debian packages.
fn missing() -> Vec<&'static str> {
    let mut missing = Vec::new();
    if server().is_none() {
        missing.push("redis-server");
    }
    if output(command("openssl version")).is_err() {
        missing.push("openssl");
    }
    missing
}

/// Finds the server, and the version that it prints.
fn server() -> Option<(String, String)> {
    let chosen = env::var(VARIABLE).ok();
    let known = ["redis-server", "valkey-server"].map(str::to_owned);
    chosen.into_iter().chain(known).find_map(|name| {
        let mut version = command(&name);
        version.arg("--version");
        Some((name, output(version).ok()?))
    })
}

/// Reads the major version of `Redis server v=7.0.15 …` or `Valkey server v=8.1.1 …`.
fn major(text: &str) -> Option<u32> {
    let version = text.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    version.split('.').next()?.parse().ok()
}

/// Installs packages if that is possible without a question. Otherwise the error states the
/// command.
fn install(packages: &[&str]) -> Result {
    let debian = output(command("apt-get --version")).is_ok();
    let root = output(command("id -u")).is_ok_and(|id| id.trim() == "0");
    let shell = if debian && root {
        "sh"
    } else if debian && output(command("sudo -n true")).is_ok() {
        "sudo -n sh"
    } else {
        let packages = packages.join(" ");
        return Err(format!(
            "not found: {packages} (the tests start servers and make certificates of their own)\n\
             on a Debian-like system, type: sudo apt-get install {packages}"
        ));
    };
    let mut install = command(shell);
    install.arg("xtask/install.sh").args(packages);
    run(install)
}

/// Lists the processes that are Redis or Valkey servers. Without `/proc` the list is empty.
pub(crate) fn running() -> BTreeSet<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|&pid| is_server(pid)).collect()
}

fn is_server(pid: u32) -> bool {
    let name = proc(pid, "comm");
    // A process that has ended but was not waited for has no command line.
    matches!(name.trim(), "redis-server" | "valkey-server") && !proc(pid, "cmdline").is_empty()
}

fn proc(pid: u32, file: &str) -> String {
    let path: PathBuf = ["/proc", &pid.to_string(), file].iter().collect();
    fs::read_to_string(path).unwrap_or_default()
}

/// Describes the servers that were not running `before` and do not end within the grace period.
pub(crate) fn left_behind(before: &BTreeSet<u32>) -> Vec<String> {
    let mut left = &running() - before;
    let start = Instant::now();
    while !left.is_empty() && start.elapsed() < GRACE {
        thread::sleep(Duration::from_millis(100));
        left.retain(|&pid| is_server(pid));
    }
    let describe = |pid| format!("left running: {pid} {}", proc(pid, "cmdline").replace('\0', " "));
    left.into_iter().map(describe).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_of_redis_and_of_valkey() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64";
        assert_eq!(major(redis), Some(7));
        assert_eq!(major("Valkey server v=8.1.1 sha=00000000:0 malloc=libc bits=64"), Some(8));
        assert_eq!(major("Redis server v=unstable"), None);
        assert_eq!(major(""), None);
    }
}
