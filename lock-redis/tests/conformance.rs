//! The whole suite on real servers: over TCP, TLS and a unix socket, as a restricted user, and over
//! the application's own pool.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;

use lock_redis::{RedisConfig, RedisOptions, RedisProvider};
use lock_testkit::{Subject, conformance};
use support::{PASSWORD, Server, Shared, ca};

static TCP: Shared = Shared::new();
static TLS: Shared = Shared::new();
static ACL: Shared = Shared::new();

/// A provider with the prefix `app:`, a neighbour with another one, and the server behind them.
async fn subject(server: Arc<Server>, config: RedisConfig, database: u32) -> Subject {
    // A handshake may take long on a machine that runs dozens of tests at once.
    let config = config.connect_timeout(std::time::Duration::from_secs(30));
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
    let server = Server::shared(&TCP, Server::start);
    let config = server.config();
    subject(server, config, 0).await
});

conformance!(redis_unix, || async {
    let server = Server::shared(&TCP, Server::start);
    let config = RedisConfig::unix(server.socket());
    subject(server, config, 0).await
});

conformance!(redis_tls, || async {
    let server = Server::shared(&TLS, Server::tls);
    let config = RedisConfig::tls("localhost", server.port).ca(ca());
    subject(server, config, 0).await
});

conformance!(redis_acl, || async {
    let server = Server::shared(&ACL, Server::acl);
    let config = server.config().user("locks").password(PASSWORD).database(3);
    subject(server, config, 3).await
});

conformance!(redis_pool, || async {
    let server = Server::shared(&TCP, Server::start);
    let pool = deadpool_redis::Config::from_url(server.url()).create_pool(None).unwrap();
    let options = |prefix| RedisOptions::new().prefix(prefix);
    let provider = RedisProvider::with_pool(pool.clone(), options("app:")).await.unwrap();
    let neighbour = RedisProvider::with_pool(pool, options("app:other:")).await.unwrap();
    over(server, provider, neighbour, 0)
});
