//! Sentinels, and failovers while locks are held.

#![cfg(feature = "sentinel")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_core::loss::Loss;
use lock_core::registry::ProviderRegistry;
use lock_core::{Backoff, LockClient};
use lock_redis::{RedisConfig, RedisProvider};
use support::contest::Contest;
use support::released;
use support::sentinel::{Watched, until};

/// Longer than any failover takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
/// Longer than most failovers.
const TTL: Duration = Duration::from_secs(20);

/// How long a master is silent before it counts as dead.
const DOWN_AFTER: Duration = Duration::from_secs(1);

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, event).await.expect("it comes in time")
}

/// Connects a client that waits until a failover is over.
async fn client(watched: &Watched) -> LockClient {
    let provider = RedisProvider::connect(watched.config()).await.unwrap();
    LockClient::builder(provider).unavailable_after(LIMIT).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_names_the_master_by_its_sentinels() {
    let watched = Watched::start(DOWN_AFTER);
    let registry = ProviderRegistry::new().register(lock_redis::factory()).unwrap();
    let locks = registry.connect(&watched.url()).await.unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    assert_eq!(watched.servers[0].send(&["EXISTS", "k"]), ":1\r\n");
    guard.release().await.unwrap();
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r31_sentinels_and_master_are_connected_to_over_tls() {
    let (master, sentinel) = support::sentinel::over_tls();
    let config = RedisConfig::sentinel("main", [("localhost", sentinel.port)]).over_tls();
    assert!(RedisProvider::connect(config.clone()).await.is_err(), "a private authority");
    let locks = LockClient::new(RedisProvider::connect(config.ca(support::ca())).await.unwrap());
    let guard = locks.lock("k").acquire().await.unwrap();
    assert_eq!(master.send(&["EXISTS", "k"]), ":1\r\n");
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r30_a_password_that_changes_is_read_for_every_new_connection() {
    let watched = Watched::start(LIMIT);
    let known = Arc::new(Mutex::new(support::PASSWORD.to_owned()));
    let source = Arc::clone(&known);
    let config = watched.config().user("locks").prefix("app:");
    let config = config.password_from(move || source.lock().unwrap().clone());
    let provider = RedisProvider::connect(config).await.unwrap();
    let locks = LockClient::builder(provider).unavailable_after(LIMIT).build().unwrap();
    let guard = locks.lock("k").ttl(TTL).acquire().await.unwrap();
    for server in &watched.servers {
        server.command(&format!("ACL SETUSER locks >the-new-one <{}", support::PASSWORD));
    }
    *known.lock().unwrap() = "the-new-one".into();
    watched.servers[0].command("CLIENT KILL TYPE normal");
    soon(locks.lock("other").acquire()).await.unwrap().release().await.unwrap();
    guard.renew_to(TTL).await.unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r13_a_frozen_master_is_replaced_and_all_contenders_go_on() {
    let watched = Watched::start(DOWN_AFTER);
    let mut contest = Contest::new(LIMIT);
    for _ in 0..3 {
        contest.enter(client(&watched).await);
    }
    contest.until_all_held(3).await;
    watched.servers[0].freeze();
    contest.until_all_held(3).await;
    contest.end().await;
}

/// The connection that listens does not notice by itself that its server is frozen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_r13_waiters_are_woken_by_the_successor_of_a_frozen_master() {
    let watched = Watched::start(DOWN_AFTER);
    let provider = RedisProvider::connect(watched.config()).await.unwrap();
    let locks = LockClient::builder(provider.clone()).unavailable_after(LIMIT).build().unwrap();
    // Only a message wakes this waiter in time.
    let patient = LockClient::builder(provider).retry(Backoff::fixed(LIMIT * 4));
    let patient = patient.unavailable_after(LIMIT).build().unwrap();
    let holder = client(&watched).await;
    let pass_on = async |servers: &[support::Server]| {
        let guard = soon(holder.lock("k").ttl(LIMIT * 4).acquire()).await.unwrap();
        let waiting = patient.clone();
        let waiter = tokio::spawn(async move { waiting.lock("k").wait_forever().acquire().await });
        let queued = |server: &support::Server| server.send(&["EXISTS", "k\u{1f}queue{k}"]);
        until(|| servers.iter().any(|server| queued(server) == ":1\r\n"));
        released(guard).await;
        released(soon(waiter).await.unwrap().unwrap()).await;
    };
    pass_on(&watched.servers).await;
    watched.servers[0].freeze();
    soon(watched.until_replaced(0)).await;
    released(soon(locks.lock("other").acquire()).await.unwrap()).await;
    pass_on(&watched.servers[1..]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_are_dead_or_do_not_know_the_service_are_reported() {
    let watched = Watched::start(DOWN_AFTER);
    let nowhere = RedisConfig::sentinel("main", [("127.0.0.1", 1)]);
    let error = soon(RedisProvider::connect(nowhere)).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let unknown = watched.config_of("other");
    let error = soon(RedisProvider::connect(unknown)).await.unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("no server was found"), "{error}");
    let server = ("127.0.0.1", watched.servers[0].port);
    let error = RedisProvider::connect(RedisConfig::sentinel("main", [server])).await;
    assert!(error.is_err(), "a server is no sentinel");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r8_a_lock_that_the_replicas_have_survives_the_loss_of_the_master() {
    let mut watched = Watched::start(DOWN_AFTER);
    let locks = client(&watched).await;
    let acquire = locks.lock("k").ttl(TTL).renew_every(Duration::from_millis(100));
    let guard = acquire.acquire().await.unwrap();
    watched.in_step();
    watched.servers[0].kill();
    soon(watched.until_replaced(0)).await;
    let other = client(&watched).await;
    // The lock is renewed at the new master, beyond the ttl that the old one granted.
    let wait = other.lock("k").wait_at_most(TTL + Duration::from_secs(2)).acquire();
    assert!(wait.await.unwrap_err().is_timed_out());
    assert!(guard.is_held());
    let token = guard.fencing_token();
    guard.release().await.unwrap();
    assert!(soon(other.lock("k").acquire()).await.unwrap().fencing_token() > token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g2_f1_r8_a_lock_that_no_replica_has_is_lost_with_the_master_and_its_holder_learns_of_it() {
    let mut watched = Watched::start(DOWN_AFTER);
    let locks = client(&watched).await;
    let other = client(&watched).await;
    watched.servers[1..].iter().for_each(support::Server::freeze);
    // Data that was sent to a frozen replica would wait in its socket.
    watched.servers[0].command("CLIENT KILL TYPE replica");
    let acquire = locks.lock("k").ttl(LIMIT).renew_every(Duration::from_millis(100));
    let guard = acquire.acquire().await.unwrap();
    watched.servers[0].kill();
    watched.servers[1..].iter().for_each(support::Server::thaw);
    let loss = soon(guard.lost()).await;
    assert!(matches!(loss, Some(Loss::NotYours)), "{loss:?}");
    let next = soon(other.lock("k").wait_forever().acquire()).await.unwrap();
    assert!(next.fencing_token() > guard.fencing_token());
    drop(guard);
    next.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r28_a_demoted_master_is_abandoned_for_its_successor() {
    let watched = Watched::start(DOWN_AFTER);
    let locks = client(&watched).await;
    let acquire = locks.lock("k").ttl(TTL).renew_every(Duration::from_millis(100));
    let guard = acquire.acquire().await.unwrap();
    watched.in_step();
    watched.fail_over();
    soon(watched.until_replaced(0)).await;
    let token = guard.fencing_token();
    released(guard).await;
    let next = soon(locks.lock("k").wait_forever().acquire()).await.unwrap();
    assert!(next.fencing_token() > token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_r8_tokens_grow_across_a_failover_and_all_contenders_go_on() {
    let mut watched = Watched::start(DOWN_AFTER);
    let mut contest = Contest::new(LIMIT);
    for _ in 0..4 {
        contest.enter(client(&watched).await);
    }
    contest.until_all_held(5).await;
    watched.servers[0].kill();
    contest.until_all_held(5).await;
    contest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_r14_contenders_go_on_while_connections_are_cut() {
    let watched = Watched::start(LIMIT);
    let mut contest = Contest::new(LIMIT);
    for _ in 0..3 {
        contest.enter(client(&watched).await);
    }
    contest.until_all_held(1).await;
    contest.cut_off(&watched.servers, 20).await;
    contest.end().await;
}
