//! Grants that are trusted only once replicas have them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use lock_core::LockClient;
use lock_core::loss::Loss;
use lock_core::registry::ProviderRegistry;
use lock_redis::{RedisConfig, RedisProvider};
use support::sentinel::until;
use support::{PASSWORD, Server};

const LIMIT: Duration = Duration::from_secs(30);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, event).await.expect("it comes in time")
}

/// Starts a master, and a replica that has its data.
fn pair() -> (Server, Server) {
    let master = Server::with(&["--repl-diskless-sync-delay", "0"]);
    let replica = Server::with(&["--replicaof", "127.0.0.1", &master.port.to_string()]);
    until(|| master.command("INFO replication").contains("state=online"));
    (master, replica)
}

/// Connects a client that soon reports that the server is unavailable.
async fn client(config: RedisConfig) -> LockClient {
    let provider = RedisProvider::connect(config).await.unwrap();
    let client = LockClient::builder(provider).unavailable_after(Duration::from_secs(2));
    client.request_timeout(LIMIT).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grant_is_at_the_replicas_when_it_is_reported() {
    let (master, replica) = pair();
    let locks = client(master.config().replicas(1, LIMIT / 20)).await;
    for number in 0..50 {
        let key = format!("k{number}");
        let guard = locks.lock(&key).acquire().await.unwrap();
        assert_eq!(replica.send(&["EXISTS", &key]), ":1\r\n", "the replica has {key}");
        guard.renew_to(Duration::from_secs(9)).await.unwrap();
        guard.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_without_replicas_nothing_is_granted_and_no_key_stays_locked() {
    let (master, replica) = pair();
    let locks = client(master.config().replicas(1, ms(300))).await;
    let acquire = locks.lock("held").ttl(Duration::from_secs(5)).renew_every(ms(100));
    let held = acquire.acquire().await.unwrap();
    replica.freeze();
    let error = soon(locks.lock("k").ttl(LIMIT * 2).acquire()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("0 replicas have the grant"), "{error}");
    until(|| master.send(&["EXISTS", "k"]) == ":0\r\n");
    // A renewal that no replica has does not count.
    let loss = soon(held.lost()).await;
    assert!(matches!(loss, Some(Loss::Expired { .. })), "{loss:?}");
    replica.thaw();
    let again = locks.lock("k").wait_at_most(LIMIT).acquire();
    soon(again).await.unwrap().release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r9_a_master_that_refuses_to_write_without_replicas_is_waited_for() {
    let (master, replica) = pair();
    assert!(master.send(&["CONFIG", "SET", "min-replicas-to-write", "1"]).starts_with("+OK"));
    let locks = client(master.config().replicas(1, LIMIT / 20)).await;
    replica.send(&["REPLICAOF", "NO", "ONE"]);
    until(|| master.command("INFO replication").contains("connected_slaves:0"));
    let error = locks.lock("k").no_wait().acquire().await.unwrap_err();
    assert!(error.is_unavailable(), "{error:#}");
    let waiter = tokio::spawn(async move { locks.lock("k").wait_forever().acquire().await });
    replica.send(&["REPLICAOF", "127.0.0.1", &master.port.to_string()]);
    let guard = soon(waiter).await.unwrap();
    // It may have given up before the replica was back.
    match guard {
        Ok(guard) => guard.release().await.unwrap(),
        Err(error) => assert!(error.is_unavailable(), "{error:#}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_more_permission_is_enough_to_wait_for_replicas() {
    let (master, _replica) = pair();
    let acl = support::ACL;
    master.command(&format!("ACL SETUSER locks on >{PASSWORD} {acl} +wait"));
    let config = master.config().user("locks").password(PASSWORD).prefix("app:");
    let locks = client(config.replicas(1, Duration::from_secs(1))).await;
    let guard = locks.lock("k").acquire().await.unwrap();
    guard.renew_to(Duration::from_secs(9)).await.unwrap();
    guard.release().await.unwrap();
    master.command("ACL SETUSER locks -wait");
    let refused = locks.lock("k").ttl(LIMIT * 2).acquire().await;
    assert!(refused.unwrap_err().is_denied());
    until(|| master.send(&["EXISTS", "app:k"]) == ":0\r\n");
}

#[tokio::test]
async fn wrong_settings_of_replicas_are_refused_with_what_would_be_right() {
    let server = Server::start();
    let registry = ProviderRegistry::new().register(lock_redis::factory()).unwrap();
    for (options, why) in [
        ("replicas=two", "`replicas` is `two`; give a number"),
        ("replicas=0", "leave it out to wait for none"),
        ("replicas=1&replicas_timeout=1h", "give them 1ms to 2.5s"),
        ("replicas_timeout=1s", "has no effect without `replicas`"),
    ] {
        let error = registry.connect(&format!("{}?{options}", server.url())).await.unwrap_err();
        assert!(error.is_misconfigured() && error.to_string().contains(why), "{error}");
    }
}
