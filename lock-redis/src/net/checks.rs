//! What must be true of a server before locks are put on it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lock_core::{Error, ErrorKind, Result};
use redis::InfoDict;

const OLDEST_MAJOR: u32 = 7;

/// Checks a server whenever a connection to it is opened: it may be another one than before.
pub(crate) struct ServerChecks {
    /// Whether version, role and eviction policy are checked. The others are checked in any case: that
    /// a master is still one, and that no two nodes are one server.
    server_checks: bool,
    subject: Subject,
}

/// Which server is checked.
enum Subject {
    /// The server at a fixed address, and whether it has been found to be a master. Once it was one,
    /// being a replica is a failure that may end, not a wrong setting.
    Server(AtomicBool),
    /// Whoever the sentinels named as the master.
    Master,
    /// A node of a quorum, by its number from one.
    Node(usize, Arc<NodeProcesses>),
}

/// The process that each node of a quorum was when a connection to it was last opened, by the node's
/// number. No process is there twice: a server that is two nodes would have two votes.
pub(crate) type NodeProcesses = Mutex<HashMap<usize, String>>;

impl ServerChecks {
    /// Of the server at a fixed address; `None` where nothing is to be asked.
    pub(crate) fn of_a_server(server_checks: bool) -> Option<Self> {
        let subject = Subject::Server(AtomicBool::new(false));
        server_checks.then_some(Self { server_checks, subject })
    }

    /// Of whoever is the master now.
    pub(crate) fn of_a_master(server_checks: bool) -> Self {
        Self { server_checks, subject: Subject::Master }
    }

    /// Of a node of a quorum.
    pub(crate) fn of_a_node(
        number: usize,
        server_checks: bool,
        processes: &Arc<NodeProcesses>,
    ) -> Self {
        Self { server_checks, subject: Subject::Node(number, Arc::clone(processes)) }
    }

    /// Refuses a server that no lock should be on, and one that is another node already; returns the
    /// name of the server's process.
    pub(crate) fn check(&self, info: &InfoDict) -> Result<Arc<str>> {
        let lost_by = match &self.subject {
            Subject::Server(was_master) => was_master.load(Ordering::Relaxed).then_some(
                "the server is no master any more; it may become one again, or be replaced at its \
                 address",
            ),
            Subject::Master => {
                Some("the server is no master any more, and its successor is not known yet")
            }
            Subject::Node(..) => None,
        };
        if let Some(message) = lost_by
            && role(info) != "master"
        {
            // It was one before, so trying again may help.
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
        processes.remove(node); // it may be another server now
        let same = |other: &(&usize, &String)| *other.1 == run_id;
        if let Some((other, _)) = processes.iter().find(same) {
            return Err(Error::new(
                ErrorKind::Misconfigured,
                format!(
                    "nodes {other} and {node} of the quorum are one and the same server; every node must \
                     be another"
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

/// Refuses a server that is too old, cannot write, or may throw locks away.
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
            "the server's maxmemory-policy is `{policy}`: under memory pressure it throws held locks \
             away; set it to `noeviction`, or turn the check off with `server_checks=off`"
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
