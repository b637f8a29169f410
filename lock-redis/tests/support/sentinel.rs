//! A master, two replicas and three sentinels.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use lock_redis::RedisConfig;

use super::{ACL, PASSWORD, PATIENCE, Server, tls_arguments};

/// The sentinels' name of the master.
const SERVICE: &str = "main";

/// Servers that sentinels watch. The first is the master at the start.
pub(crate) struct Watched {
    pub(crate) servers: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Watched {
    /// Starts all servers, and waits until they know each other and the replicas have the data. A
    /// master that is silent for `down_after` counts as dead.
    pub(crate) fn start(down_after: Duration) -> Self {
        let master = Server::with(&["--repl-diskless-sync-delay", "0"]);
        let port = master.port.to_string();
        let replica = || Server::with(&["--replicaof", "127.0.0.1", &port]);
        let servers = vec![master, replica(), replica()];
        for server in &servers {
            server.command(&format!("ACL SETUSER locks on >{PASSWORD} {ACL}"));
        }
        until(|| servers[0].command("INFO replication").matches("state=online").count() == 2);
        let config = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {port} 2\n\
             sentinel down-after-milliseconds {SERVICE} {}\n\
             sentinel failover-timeout {SERVICE} 3000\n",
            down_after.as_millis()
        );
        let sentinels = (0..3).map(|_| Server::with_file(&config, &["--sentinel"])).collect();
        let watched = Self { servers, sentinels };
        until(|| {
            let knows = |sentinel: &Server| {
                let master = master_of(sentinel);
                master.get("num-slaves").is_some_and(|count| count == "2")
                    && master.get("num-other-sentinels").is_some_and(|count| count == "2")
            };
            watched.sentinels.iter().all(knows)
        });
        watched
    }

    /// Returns a configuration that names the sentinels.
    pub(crate) fn config(&self) -> RedisConfig {
        self.config_of(SERVICE)
    }

    pub(crate) fn config_of(&self, service: &str) -> RedisConfig {
        let sentinels = self.sentinels.iter().map(|sentinel| ("127.0.0.1", sentinel.port));
        RedisConfig::sentinel(service, sentinels).connect_timeout(PATIENCE)
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port));
        format!("redis+sentinel://{}/{SERVICE}", hosts.collect::<Vec<_>>().join(","))
    }
}

impl Watched {
    /// Waits until the replicas have all that the first server has.
    pub(crate) fn in_step(&self) {
        let info = |server: &Server| server.command("INFO replication");
        let wanted = field(&info(&self.servers[0]), "master_repl_offset");
        let wanted: u64 = wanted.parse().unwrap();
        let reached = |server: &Server| field(&info(server), "slave_repl_offset").parse::<u64>();
        until(|| self.servers[1..].iter().all(|server| reached(server).unwrap() >= wanted));
    }

    /// Has the sentinels replace a master that works.
    pub(crate) fn fail_over(&self) {
        let client = redis::Client::open(self.sentinels[0].url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        redis::cmd("SENTINEL").arg("FAILOVER").arg(SERVICE).exec(&mut connection).unwrap();
    }

    /// Waits until all sentinels name another master than this one.
    pub(crate) async fn until_replaced(&self, server: usize) {
        let port = self.servers[server].port.to_string();
        let replaced = |sentinel: &Server| master_of(sentinel)["port"] != port;
        while !self.sentinels.iter().all(replaced) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn field(info: &str, name: &str) -> String {
    let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_else(|| panic!("no {name} in {info}")).trim().to_owned()
}

/// A master over TLS, and one sentinel over TLS that knows it by its name.
pub(crate) fn over_tls() -> (Server, Server) {
    let master = Server::tls();
    let config = format!(
        "sentinel resolve-hostnames yes\nsentinel announce-hostnames yes\n\
         sentinel monitor {SERVICE} localhost {} 1\n",
        master.port
    );
    let mut arguments = tls_arguments();
    arguments.extend(["--tls-replication", "yes", "--sentinel"].map(str::to_owned));
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    (master, Server::with_file(&config, &arguments))
}

/// Returns what a sentinel reports of the master.
fn master_of(sentinel: &Server) -> HashMap<String, String> {
    let client = redis::Client::open(sentinel.url()).unwrap();
    let mut connection = client.get_connection().unwrap();
    redis::cmd("SENTINEL").arg("MASTER").arg(SERVICE).query(&mut connection).unwrap()
}

/// Waits until a condition of the servers holds.
pub(crate) fn until(condition: impl Fn() -> bool) {
    let give_up = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < give_up, "the servers do not get there in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}
