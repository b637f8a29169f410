//! A Redis Cluster of three masters, with one replica each.

use lock_redis::RedisConfig;

use super::sentinel::until;
use super::{ACL, ACL_OF_A_CLUSTER, PASSWORD, PATIENCE, Server, tls_arguments};

const MASTERS: usize = 3;
const SLOTS: usize = 16384;

/// A cluster. Its first servers are the masters at the start; the others are their replicas.
pub(crate) struct Cluster {
    pub(crate) servers: Vec<Server>,
}

impl Cluster {
    /// Starts all servers, and waits until they agree on the slots and the replicas have the data.
    /// A master that is silent for `node_timeout` ms counts as dead.
    pub(crate) fn start(node_timeout: u32) -> Self {
        Self::with(node_timeout, &[])
    }

    /// As [`start`](Self::start), with TLS, and with `localhost` as the name of all servers.
    pub(crate) fn tls() -> Self {
        let mut arguments = tls_arguments();
        let names =
            "--cluster-announce-hostname localhost --cluster-preferred-endpoint-type hostname";
        let all = format!("--tls-cluster yes --tls-replication yes {names}");
        arguments.extend(all.split(' ').map(str::to_owned));
        Self::with(60_000, &arguments)
    }

    fn with(node_timeout: u32, arguments: &[String]) -> Self {
        let timeout = node_timeout.to_string();
        let servers: Vec<_> = (0..2 * MASTERS)
            .map(|_| {
                let mut all = vec![
                    "--cluster-enabled",
                    "yes",
                    "--cluster-node-timeout",
                    &timeout,
                    "--cluster-port",
                    "BUS",
                    "--cluster-replica-validity-factor",
                    "0",
                    "--repl-diskless-sync-delay",
                    "0",
                ];
                all.extend(arguments.iter().map(String::as_str));
                Server::with(&all)
            })
            .collect();
        for (number, server) in servers.iter().enumerate() {
            ok(server, &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()]);
            server.command(&format!("ACL SETUSER locks on >{PASSWORD} {ACL} {ACL_OF_A_CLUSTER}"));
        }
        let (first, bus) = (servers[0].port.to_string(), servers[0].bus.to_string());
        for server in &servers[1..] {
            ok(server, &["CLUSTER", "MEET", "127.0.0.1", &first, &bus]);
        }
        for (number, master) in servers[..MASTERS].iter().enumerate() {
            let (from, to) = (number * SLOTS / MASTERS, (number + 1) * SLOTS / MASTERS - 1);
            ok(master, &["CLUSTER", "ADDSLOTSRANGE", &from.to_string(), &to.to_string()]);
        }
        let cluster = Self { servers };
        let field = |server: &Server, what: &str, line: &str| {
            server.command(what).lines().any(|one| one.trim() == line)
        };
        until(|| {
            let knows = |server| field(server, "CLUSTER INFO", "cluster_known_nodes:6");
            cluster.servers.iter().all(knows)
        });
        for number in 0..MASTERS {
            let id = cluster.id(number);
            let replica = &cluster.servers[MASTERS + number];
            until(|| replica.send(&["CLUSTER", "REPLICATE", &id]).starts_with("+OK"));
        }
        until(|| {
            let sees = |server: &Server| {
                field(server, "CLUSTER INFO", "cluster_state:ok")
                    && server.command("CLUSTER NODES").matches("slave").count() == MASTERS
            };
            let linked = |server| field(server, "INFO replication", "master_link_status:up");
            cluster.servers.iter().all(sees) && cluster.servers[MASTERS..].iter().all(linked)
        });
        cluster
    }

    pub(crate) fn config(&self) -> RedisConfig {
        let nodes = self.servers.iter().map(|server| ("127.0.0.1", server.port));
        RedisConfig::cluster(nodes).connect_timeout(PATIENCE)
    }

    pub(crate) fn url(&self) -> String {
        let hosts = self.servers.iter().map(|server| format!("127.0.0.1:{}", server.port));
        format!("redis+cluster://{}", hosts.collect::<Vec<_>>().join(","))
    }

    /// Returns the cluster's name of a server.
    pub(crate) fn id(&self, server: usize) -> String {
        let reply = self.servers[server].command("CLUSTER MYID");
        reply.lines().nth(1).expect("an id").to_owned()
    }

    /// Returns the slot of a key.
    pub(crate) fn slot(&self, key: &str) -> String {
        let reply = self.servers[0].send(&["CLUSTER", "KEYSLOT", key]);
        reply.trim().trim_start_matches(':').to_owned()
    }

    /// Returns the server that has a key's slot at the start.
    pub(crate) fn home(&self, key: &str) -> usize {
        self.slot(key).parse::<usize>().unwrap() * MASTERS / SLOTS
    }

    /// Deletes a key wherever it is. To its holder, this is the same as an expiry.
    pub(crate) fn expire(&self, key: &str) {
        let gone = |server: &Server| server.send(&["DEL", key]).starts_with(':');
        assert!(self.servers[..MASTERS].iter().filter(|server| gone(server)).count() == 1);
    }
}

pub(crate) fn ok(server: &Server, words: &[&str]) {
    let reply = server.send(words);
    assert!(reply.starts_with("+OK"), "{words:?}: {reply}");
}
