//! What locks cost, as counted by the server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use lock_core::LockClient;
use lock_redis::{RedisOptions, RedisProvider};
use support::Server;

/// Returns the commands that clients sent, by name. The server counts the commands of scripts under
/// their own names too, so these are left out here, and the test counts them.
fn sent_by_clients(server: &Server) -> Vec<(String, u64)> {
    let stats = server.command("INFO commandstats");
    let mut sent: Vec<_> = stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="))
        .map(|(name, rest)| (name.to_owned(), rest.split(',').next().unwrap().parse().unwrap()))
        // Leave out the commands of the scripts, and those of the test itself.
        .filter(|(name, _)| {
            let inside = ["mget", "set", "del", "time", "exists", "zrange"];
            let asked = ["info", "quit", "config|resetstat"];
            !inside.iter().chain(&asked).any(|known| known == name)
        })
        .collect();
    sent.sort();
    sent
}

#[tokio::test]
async fn one_acquire_and_release_with_fencing_are_two_commands() {
    let server = Server::start();
    let locks = server.client().await;
    // The first cycle loads the scripts and makes the key's counter.
    locks.lock("invoice/42").acquire().await.unwrap().release().await.unwrap();

    server.command("CONFIG RESETSTAT");
    let cycles = 100;
    for _ in 0..cycles {
        let guard = locks.lock("invoice/42").acquire().await.unwrap();
        assert!(guard.fencing_token().is_some());
        guard.release().await.unwrap();
    }
    let sent = sent_by_clients(&server);
    assert_eq!(
        sent,
        [("evalsha".to_owned(), 2 * cycles)],
        "two commands per cycle, and nothing else"
    );
    // An acquisition is MGET, TIME, SET, SET; a release is MGET, DEL.
    assert_eq!(server.calls("mget"), 2 * cycles);
    assert_eq!(server.calls("zrange"), 0);
    assert_eq!(server.calls("time"), cycles);
    assert_eq!(server.calls("set"), 2 * cycles);
    assert_eq!(server.calls("del"), cycles);
    assert_eq!(server.calls("exists"), 0);
}

#[tokio::test]
async fn a_renewal_is_one_command() {
    let server = Server::start();
    let guard = server.client().await.lock("k").acquire().await.unwrap();
    let ttl = LockClient::DEFAULT_TTL;
    guard.renew_to(ttl).await.unwrap();
    server.command("CONFIG RESETSTAT");
    guard.renew_to(ttl).await.unwrap();
    assert_eq!((server.calls("evalsha"), server.calls("pexpire")), (1, 2));
    guard.release().await.unwrap();
}

#[tokio::test]
async fn two_connections_serve_any_number_of_locks() {
    let server = Server::start();
    let locks = server.client().await;
    let mut guards = Vec::new();
    for n in 0..200 {
        guards.push(locks.lock(format!("k{n}")).auto_renew().acquire().await.unwrap());
    }
    let clients = server.command("CLIENT LIST TYPE normal");
    // The test's own connection goes over the unix socket.
    assert_eq!(clients.lines().filter(|line| line.contains("addr=127.")).count(), 2, "{clients}");
    for guard in guards {
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_pool_that_is_used_up_costs_no_held_lock() {
    let server = Server::start();
    let mut config = deadpool_redis::Config::from_url(server.url());
    config.pool = Some(deadpool_redis::PoolConfig::new(2));
    let pool = config.create_pool(Some(deadpool_redis::Runtime::Tokio1)).unwrap();
    let provider = RedisProvider::with_pool(pool.clone(), RedisOptions::new()).await.unwrap();
    let locks = LockClient::new(provider);
    let guard = locks.lock("k").acquire().await.unwrap();
    guard.renew_to(LockClient::DEFAULT_TTL).await.unwrap();
    // The application takes every connection there is.
    let mut taken = Vec::new();
    while let Ok(connection) = pool.timeout_get(&timeouts()).await {
        taken.push(connection);
    }
    assert!(!taken.is_empty());
    guard.renew_to(LockClient::DEFAULT_TTL).await.unwrap();
    let full = locks.lock("other").try_acquire().await.unwrap_err();
    assert!(full.is_unavailable(), "{full}");
    guard.release().await.unwrap();
    drop(taken);
    locks.lock("k").try_acquire().await.expect("free").release().await.unwrap();
}

fn timeouts() -> deadpool_redis::Timeouts {
    deadpool_redis::Timeouts::wait_millis(50)
}
