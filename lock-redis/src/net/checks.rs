//! Checks that a server can keep locks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lock_core::{Error, ErrorKind, Result};
use redis::InfoDict;

const OLDEST_MAJOR: u32 = 7;

/// Checks a server whenever a connection is opened, because it may not be the same server as
/// before.
pub(crate) struct ServerChecks {
    /// Whether version, role and eviction policy are checked. Two checks cannot be turned off: that
    /// a server named by sentinels is a master, and that no two nodes of a quorum are one server.
    server_checks: bool,
    subject: Subject,
}

/// The server to check.
enum Subject {
    /// The server at a fixed address, and whether it was a master before. If it was, its being a
    /// replica is a failure that may end, and not a wrong setting.
    Server(AtomicBool),
    /// The server that the sentinels named as the master.
    Master,
    /// A node of a quorum, by its number; the first is 1.
    Node(usize, Arc<NodeProcesses>),
}

/// The server process of each node of a quorum, as of the last connection to it, by the node's
/// number. No process occurs twice, because a server that is two nodes would have two votes.
pub(crate) type NodeProcesses = Mutex<HashMap<usize, String>>;

impl ServerChecks {
    /// Makes the checks of the server at a fixed address; `None` if there are none.
    pub(crate) fn of_a_server(server_checks: bool) -> Option<Self> {
        let subject = Subject::Server(AtomicBool::new(false));
        server_checks.then_some(Self { server_checks, subject })
    }

    /// Makes the checks of the server that sentinels name.
    pub(crate) fn of_a_master(server_checks: bool) -> Self {
        Self { server_checks, subject: Subject::Master }
    }

    /// Makes the checks of a node of a quorum.
    pub(crate) fn of_a_node(
        number: usize,
        server_checks: bool,
        processes: &Arc<NodeProcesses>,
    ) -> Self {
        Self { server_checks, subject: Subject::Node(number, Arc::clone(processes)) }
    }

    /// Refuses a server that cannot keep locks, and one that is another node already. Returns the
    /// name of the server's process.
    pub(crate) fn check(&self, info: &InfoDict) -> Result<Arc<str>> {
        let lost_by = match &self.subject {
            Subject::Server(was_master) => was_master.load(Ordering::Relaxed).then_some(
                "the server is no longer a master; wait until it is one again, or is replaced at \
                 its address",
            ),
            Subject::Master => Some(
                "the server is no longer a master; wait until the sentinels name its successor",
            ),
            Subject::Node(..) => None,
        };
        if let Some(message) = lost_by
            && role(info) != "master"
        {
            // It was a master before, so a retry may succeed.
            return Err(Error::new(ErrorKind::Unavailable, message));
        }
        if self.server_checks {
            check_server(info)?;
        }
        let run_id = info.get::<String>("run_id").unwrap_or_default();
        let (node, processes) = match &self.subject {
            Subject::Node(node, processes) => (node, processes),
            Subject::Master => return Ok(run_id.into()),
            Subject::Server(was_master) => {
                was_master.store(true, Ordering::Relaxed);
                return Ok(run_id.into());
            }
        };
        let mut processes = processes.lock().unwrap_or_else(PoisonError::into_inner);
        processes.remove(node); // its process may have changed
        let same = |other: &(&usize, &String)| *other.1 == run_id;
        if let Some((other, _)) = processes.iter().find(same) {
            return Err(Error::new(
                ErrorKind::Misconfigured,
                format!(
                    "nodes {other} and {node} of the quorum are the same server; name a different \
                     server for each node"
                ),
            ));
        }
        processes.insert(*node, run_id.clone());
        Ok(run_id.into())
    }
}

fn role(info: &InfoDict) -> String {
    info.get("role").unwrap_or_default()
}

/// Refuses a server that is too old, cannot write, or may evict locks.
pub(crate) fn check_server(info: &InfoDict) -> Result<()> {
    let refuse = |message: String| Err(Error::new(ErrorKind::Misconfigured, message));
    let text = |name| info.get::<String>(name).unwrap_or_default();

    let version = text("redis_version");
    let major = version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    if major.is_none_or(|major| major < OLDEST_MAJOR) {
        return refuse(format!(
            "the server has version `{version}`; use Redis 7 or Valkey, or later"
        ));
    }
    let role = role(info);
    if role != "master" {
        return refuse(format!(
            "the server is a `{role}`, which cannot take locks; connect to its master"
        ));
    }
    let policy = text("maxmemory_policy");
    if policy != "noeviction" {
        return refuse(format!(
            "the server's maxmemory-policy is `{policy}`, so it deletes held locks under memory \
             pressure; set it to `noeviction`, or turn the check off with `server_checks=off`"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &str) -> String {
        let good = "redis_version:7.0.15\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n";
        let mut info = good.to_owned();
        for line in lines.lines() {
            let name = line.split(':').next().unwrap();
            let kept = info.lines().filter(|one| !one.starts_with(name));
            info = kept.chain([line]).collect::<Vec<_>>().join("\r\n");
        }
        match check_server(&InfoDict::new(&info)) {
            Ok(()) => "fine".into(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn r27_a_server_that_may_lose_locks_is_refused_with_the_remedy() {
        assert_eq!(check(""), "fine");
        assert!(check("maxmemory_policy:volatile-ttl").contains("set it to `noeviction`"));
        assert!(check("role:slave").contains("connect to its master"));
        assert!(check("redis_version:6.2.1").contains("use Redis 7"));
        assert!(check("redis_version:what").contains("use Redis 7"));
    }
}
