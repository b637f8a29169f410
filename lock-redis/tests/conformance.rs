//! The conformance suite on real servers, in every set-up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use lock_redis::{RedisConfig, RedisOptions, RedisProvider, RedlockConfig};
use lock_testkit::{Subject, conformance};
use support::{ACL_OF_A_NODE, PASSWORD, Server, Shared, ca};

static TCP: Shared = Shared::new();
static TLS: Shared = Shared::new();
static ACL: Shared = Shared::new();

/// A provider with the prefix `app:`, a neighbour with another one, and the server behind them.
async fn subject(server: Arc<Server>, config: RedisConfig, database: u32) -> Subject {
    // A handshake may take long on a machine that runs dozens of tests at once.
    let config = config.connect_timeout(Duration::from_secs(30));
    let provider = RedisProvider::connect(config.clone().prefix("app:")).await.unwrap();
    let neighbour = RedisProvider::connect(config.prefix("app:other:")).await.unwrap();
    over(server, provider, neighbour, database)
}

fn over(
    server: Arc<Server>,
    provider: RedisProvider,
    neighbour: RedisProvider,
    database: u32,
) -> Subject {
    let expiring = Arc::clone(&server);
    Subject::new(provider).neighbour(neighbour).guarded_by(server).expire_with(move |key| {
        expiring.expire_in(database, &format!("app:{key}"));
        async {}
    })
}

conformance!(redis_tcp, || async {
    let server = TCP.get(Server::start);
    let config = server.config();
    subject(server, config, 0).await
});

conformance!(redis_unix, || async {
    let server = TCP.get(Server::start);
    let config = RedisConfig::unix(server.socket());
    subject(server, config, 0).await
});

conformance!(redis_tls, || async {
    let server = TLS.get(Server::tls);
    let config = RedisConfig::tls("localhost", server.port).ca(ca());
    subject(server, config, 0).await
});

conformance!(redis_acl, || async {
    let server = ACL.get(Server::acl);
    let config = server.config().user("locks").password(PASSWORD).database(3);
    subject(server, config, 3).await
});

conformance!(redis_pool, || async {
    let server = TCP.get(Server::start);
    let pool = deadpool_redis::Config::from_url(server.url()).create_pool(None).unwrap();
    let options = |prefix| RedisOptions::new().prefix(prefix);
    let provider = RedisProvider::with_pool(pool.clone(), options("app:")).await.unwrap();
    let neighbour = RedisProvider::with_pool(pool, options("app:other:")).await.unwrap();
    over(server, provider, neighbour, 0)
});

#[cfg(feature = "sentinel")]
static WATCHED: Shared<support::sentinel::Watched> = Shared::new();

#[cfg(feature = "sentinel")]
conformance!(redis_sentinel, || async {
    let watched = WATCHED.get(|| support::sentinel::Watched::start(Duration::from_secs(60)));
    let config = watched.config().user("locks").password(PASSWORD);
    let provider = RedisProvider::connect(config.clone().prefix("app:")).await.unwrap();
    let neighbour = RedisProvider::connect(config.prefix("app:other:")).await.unwrap();
    let expiring = Arc::clone(&watched);
    Subject::new(provider).neighbour(neighbour).guarded_by(watched).expire_with(move |key| {
        expiring.servers[0].expire_in(0, &format!("app:{key}"));
        async {}
    })
});

#[cfg(feature = "cluster")]
static CLUSTER: Shared<support::cluster::Cluster> = Shared::new();

#[cfg(feature = "cluster")]
conformance!(redis_cluster, || async {
    let cluster = CLUSTER.get(|| support::cluster::Cluster::start(60_000));
    let config = cluster.config().user("locks").password(PASSWORD);
    let provider = RedisProvider::connect(config.clone().prefix("app:")).await.unwrap();
    let neighbour = RedisProvider::connect(config.prefix("app:other:")).await.unwrap();
    let expiring = Arc::clone(&cluster);
    Subject::new(provider).neighbour(neighbour).guarded_by(cluster).expire_with(move |key| {
        expiring.expire(&format!("app:{key}"));
        async {}
    })
});

static THREE: Shared<Vec<Server>> = Shared::new();
static FIVE: Shared<Vec<Server>> = Shared::new();

async fn quorum(servers: Arc<Vec<Server>>) -> Subject {
    let connect = async |prefix: &str| {
        let node = |server: &Server| server.config().user("locks").password(PASSWORD);
        let nodes = servers.iter().map(|server| node(server).prefix(prefix));
        // A machine that runs dozens of tests at once may stand still for longer than the default.
        let config = RedlockConfig::new(nodes).node_timeout(Duration::from_secs(1));
        config.connect().await.unwrap()
    };
    let (provider, neighbour) = (connect("app:").await, connect("app:other:").await);
    let expiring = Arc::clone(&servers);
    Subject::new(provider).neighbour(neighbour).guarded_by(servers).expire_with(move |key| {
        let (servers, key) = (Arc::clone(&expiring), format!("app:{key}"));
        async move {
            agree(&servers, &key).await;
            servers.iter().for_each(|server| server.expire_in(0, &key));
        }
    })
}

/// Waits until all nodes agree. A majority does not wait for the slowest node, whose grant would
/// come after the expiry and stay. Returns after 300 ms if the nodes differ for good.
async fn agree(servers: &[Server], key: &str) {
    let held = |server: &Server| server.send(&["GET", key]);
    let give_up = Instant::now() + Duration::from_millis(300);
    while Instant::now() < give_up {
        let first = held(&servers[0]);
        if servers.iter().all(|server| held(server) == first) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn servers(count: usize) -> Vec<Server> {
    let node = |_| {
        let server = Server::acl();
        server.command(&format!("ACL SETUSER locks {ACL_OF_A_NODE}"));
        server
    };
    (0..count).map(node).collect()
}

conformance!(redlock_of_3, || quorum(THREE.get(|| servers(3))));
conformance!(redlock_of_5, || quorum(FIVE.get(|| servers(5))));
