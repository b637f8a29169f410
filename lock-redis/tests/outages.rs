//! Servers that restart, lose data, freeze, refuse or lose connections while locks are held.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_core::LockClient;
use lock_core::loss::Loss;
use lock_redis::RedisProvider;
use support::{PASSWORD, Server, released};

const LIMIT: Duration = Duration::from_secs(30);

/// Waits for an event, with a limit.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, event).await.expect("it comes in time")
}

/// Acquires once the server is back.
async fn acquire_again(locks: &LockClient, key: &str) -> lock_core::LockGuard {
    let patient = locks.lock(key).wait_at_most(LIMIT);
    soon(patient.acquire()).await.unwrap()
}

#[tokio::test]
async fn r4_a_restart_with_saved_data_keeps_lock_and_counter() {
    let mut server = Server::with(&["--appendonly", "yes"]);
    let locks = server.client().await;
    let guard = locks.lock("k").ttl(Duration::from_secs(60)).auto_renew().acquire().await.unwrap();
    let first = guard.fencing_token();
    server.start_again();
    // The first command finds the broken connection; renewing goes on.
    while guard.renew_to(Duration::from_secs(60)).await.is_err() {
        assert!(guard.is_held(), "a restart within the ttl loses nothing");
        tokio::task::yield_now().await;
    }
    let others = locks.lock("k").wait_at_most(Duration::from_millis(500)).acquire().await;
    assert!(others.unwrap_err().is_timed_out(), "the lock is still there");
    guard.release().await.unwrap();
    assert!(acquire_again(&locks, "k").await.fencing_token() > first);
}

#[tokio::test]
async fn g2_f1_r5_a_restart_without_data_is_a_loss_and_tokens_still_grow() {
    let mut server = Server::start();
    let locks =
        LockClient::builder(server.provider().await).unavailable_after(LIMIT).build().unwrap();
    let acquire = locks.lock("k").ttl(Duration::from_secs(20));
    let guard = acquire.renew_every(Duration::from_millis(50)).acquire().await.unwrap();
    server.start_again();
    let loss = soon(guard.lost()).await;
    assert!(matches!(loss, Some(Loss::NotYours)), "{loss:?}");
    let next = acquire_again(&locks, "k").await;
    assert!(next.fencing_token() > guard.fencing_token());
    drop(guard);
    next.release().await.unwrap();
}

#[tokio::test]
async fn g2_f1_r6_flushed_data_is_a_loss_within_a_renewal_and_tokens_still_grow() {
    let server = Server::start();
    let locks = server.client().await;
    let acquire = locks.lock("k").ttl(Duration::from_secs(20));
    let guard = acquire.renew_every(Duration::from_millis(50)).acquire().await.unwrap();
    server.command("FLUSHALL");
    assert!(matches!(soon(guard.lost()).await, Some(Loss::NotYours)));
    let next = locks.lock("k").try_acquire().await.expect("free");
    assert!(next.fencing_token() > guard.fencing_token());
}

#[tokio::test]
async fn bl32_r7_flushed_scripts_are_loaded_again_with_one_effect() {
    let server = Server::start();
    let locks = server.client().await;
    let mut last = None;
    for _ in 0..20 {
        server.command("SCRIPT FLUSH SYNC");
        let guard = locks.lock("k").acquire().await.unwrap();
        assert!(guard.fencing_token() > last);
        last = guard.fencing_token();
        server.command("SCRIPT FLUSH SYNC");
        guard.renew_to(Duration::from_secs(5)).await.unwrap();
        server.command("SCRIPT FLUSH SYNC");
        assert!(!locks.inspect("k").await.unwrap().is_free());
        server.command("SCRIPT FLUSH SYNC");
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn u1_r13_a_frozen_server_gives_no_guard_and_leaves_no_key_locked() {
    let server = Server::start();
    let provider = server.provider().await;
    let short = Duration::from_millis(200);
    let locks = LockClient::builder(provider).request_timeout(short).build().unwrap();
    for round in 0..10 {
        let key = format!("k{round}");
        server.freeze();
        // The request waits in the server's socket; the undo goes over the other connection.
        let error = soon(locks.lock(&key).ttl(Duration::from_secs(60)).try_acquire()).await;
        assert!(error.unwrap_err().is_unavailable());
        server.thaw();
        // In whichever order the server reads them, the key is free long before its ttl.
        let guard = acquire_again(&locks, &key).await;
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn r14_killed_connections_are_replaced_and_no_lock_is_lost() {
    let server = Server::start();
    let locks = server.client().await;
    let acquire = locks.lock("k").ttl(Duration::from_secs(20));
    let guard = acquire.renew_every(Duration::from_millis(20)).acquire().await.unwrap();
    for round in 0..20 {
        server.command("CLIENT KILL TYPE normal");
        let other = acquire_again(&locks, &format!("other-{round}")).await;
        assert!(guard.is_held());
        // If the connection of held locks was cut as well, the release fails and returns the guard.
        let mut releasing = other.release_or_keep().await;
        while let Err(failed) = releasing {
            assert!(failed.error().is_unavailable(), "{failed}");
            releasing = failed.into_guard().unwrap().release_or_keep().await;
        }
    }
    released(guard).await;
}

#[tokio::test]
async fn r26_a_server_out_of_memory_refuses_to_acquire_and_still_renews_and_releases() {
    let server = Server::start();
    let locks = LockClient::builder(server.provider().await)
        .unavailable_after(Duration::from_millis(100))
        .build()
        .unwrap();
    let guard = locks.lock("k").acquire().await.unwrap();
    server.command("CONFIG SET maxmemory 1");
    let error = soon(locks.lock("other").acquire()).await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    assert!(error.to_string().contains("the server is out of memory"), "{error}");
    assert_eq!(server.command("EXISTS other"), ":0\r\n", "no part of it took effect");
    guard.renew_to(Duration::from_secs(10)).await.unwrap();
    guard.release().await.unwrap();
    server.command("CONFIG SET maxmemory 0");
    locks.lock("other").acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test]
async fn r28_a_connection_to_a_master_that_became_a_replica_is_replaced() {
    let (server, master) = (Server::start(), Server::start());
    let locks = server.client().await;
    server.command(&format!("REPLICAOF 127.0.0.1 {}", master.port));
    let connections = || {
        let info = server.command("INFO stats");
        let line = info.lines().find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().parse::<u64>().unwrap()
    };
    let before = connections();
    // The server refuses the first attempt. Each connection after that is found to lead to a
    // replica.
    for says in ["read-only", "no longer a master", "no longer a master"] {
        let error = soon(locks.lock("k").try_acquire()).await.unwrap_err();
        assert!(error.is_unavailable() && error.to_string().contains(says), "{error}");
    }
    // `INFO` counts itself; each further attempt opens a connection.
    assert!(connections() - before >= 3, "the connection to a replica was kept");
    server.command("REPLICAOF NO ONE");
    acquire_again(&locks, "k").await.release().await.unwrap();
}

#[tokio::test]
async fn r29_a_busy_server_is_waited_for() {
    let server = Server::with(&["--busy-reply-threshold", "1"]);
    let locks = server.client().await;
    let guard = locks.lock("warm").acquire().await.unwrap();
    let sleeping = std::thread::spawn({
        let socket = server.socket();
        move || {
            // This script runs until it is killed.
            let _ = std::process::Command::new("redis-cli")
                .args(["-s", &socket.to_string_lossy(), "EVAL", "while true do end", "0"])
                .output();
        }
    });
    while !server.command("GET warm").starts_with("-BUSY") {
        std::thread::yield_now();
    }
    let waiting = tokio::spawn(async move { acquire_again(&locks, "k").await });
    tokio::task::yield_now().await;
    while !server.command("SCRIPT KILL").starts_with("+OK") {}
    waiting.await.unwrap().release().await.unwrap();
    guard.release().await.unwrap();
    sleeping.join().unwrap();
}

#[tokio::test]
async fn g2_r30_a_permission_revoked_while_held_is_a_loss_in_time_and_no_retry_storm() {
    let server = Server::acl();
    let config = server.config().user("locks").password(PASSWORD).prefix("app:");
    let locks = LockClient::new(RedisProvider::connect(config).await.unwrap());
    let guard = locks.lock("k").ttl(Duration::from_secs(2)).auto_renew().acquire().await.unwrap();
    server.command("ACL SETUSER locks -evalsha");
    let risk = soon(guard.at_risk()).await;
    server.command("CONFIG RESETSTAT");
    if let Some(risk) = risk {
        assert!(risk.cause.is_denied(), "{risk:?}");
    }
    assert!(matches!(soon(guard.lost()).await, Some(Loss::Expired { .. })));
    let error = soon(locks.lock("other").wait_forever().acquire()).await.unwrap_err();
    assert!(error.is_denied(), "{error}");
    let stats = server.command("INFO commandstats");
    let rejected = stats.split("rejected_calls=").filter_map(|rest| rest.split(',').next());
    let rejected: u64 = rejected.filter_map(|count| count.parse::<u64>().ok()).sum();
    assert!(rejected < 40, "{rejected} requests were refused: a retry storm");
}

#[tokio::test]
async fn r30_a_password_that_changes_while_held_costs_no_lock() {
    let server = Server::acl();
    let known = Arc::new(Mutex::new(PASSWORD.to_owned()));
    let source = Arc::clone(&known);
    let config = server.config().user("locks").prefix("app:");
    let config = config.password_from(move || source.lock().unwrap().clone());
    assert!(!format!("{config:?}").contains(PASSWORD));
    let locks = LockClient::new(RedisProvider::connect(config).await.unwrap());
    let acquire = locks.lock("k").ttl(Duration::from_secs(20));
    let guard = acquire.renew_every(Duration::from_millis(20)).acquire().await.unwrap();
    server.command(&format!("ACL SETUSER locks >the-new-one <{PASSWORD}"));
    // Open connections stay authenticated.
    locks.lock("other").acquire().await.unwrap().release().await.unwrap();
    server.command("CLIENT KILL TYPE normal");
    let refused = soon(async {
        loop {
            match locks.lock("other").try_acquire().await {
                Ok(_) => panic!("with the old password"),
                Err(error) if error.is_denied() => break error,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    assert!(refused.await.to_string().contains("refused the user name or password"));
    *known.lock().unwrap() = "the-new-one".into();
    acquire_again(&locks, "other").await.release().await.unwrap();
    guard.renew_to(Duration::from_secs(20)).await.unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_r30_a_user_that_is_disabled_for_a_moment_leaves_no_key_locked() {
    let server = Server::acl();
    let config = server.config().user("locks").password(PASSWORD).prefix("app:");
    let locks = LockClient::new(RedisProvider::connect(config).await.unwrap());
    let mut guards = Vec::new();
    for number in 0..3 {
        let acquire = locks.lock(format!("k{number}")).ttl(LIMIT * 4);
        guards.push(acquire.acquire().await.unwrap());
    }
    server.command("ACL SETUSER locks off");
    server.command("CLIENT KILL TYPE normal");
    drop(guards);
    // Each of the three releases is refused.
    let refused = || {
        let log = server.command("ACL LOG");
        let mut counts = log.split("$5\r\ncount\r\n:").skip(1);
        counts.next().and_then(|rest| rest.lines().next()).map_or(0, |count| count.parse().unwrap())
    };
    support::sentinel::until(|| refused() >= 3);
    server.command("ACL SETUSER locks on");
    support::sentinel::until(|| server.command("EXISTS app:k0 app:k1 app:k2") == ":0\r\n");
}

#[tokio::test]
async fn w3_r25_a_server_without_room_for_connections_is_unavailable() {
    let server = Server::with(&["--maxclients", "4"]);
    let locks = server.client().await;
    let guard = locks.lock("k").acquire().await.unwrap();
    let mut more = Vec::new();
    let full = loop {
        match RedisProvider::connect(server.config()).await {
            Ok(provider) => more.push(provider),
            Err(error) => break error,
        }
        assert!(more.len() < 10, "the server takes any number of connections");
    };
    assert!(full.is_unavailable(), "{full:?}");
    guard.release().await.unwrap();
}

#[tokio::test]
async fn g5_r22_a_guard_that_outlives_its_runtime_neither_panics_nor_hangs() {
    let server = Server::start();
    let config = server.config();
    let (guard, lease) = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let guard = runtime.block_on(async {
            let locks = LockClient::new(RedisProvider::connect(config).await.unwrap());
            locks.lock("k").auto_renew().acquire().await.unwrap()
        });
        let lease = guard.lease();
        runtime.shutdown_background();
        (guard, lease)
    })
    .join()
    .unwrap();
    assert!(guard.is_held(), "the clock goes on without a runtime");
    drop(guard);
    assert!(!lease.is_held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w1_a_bounded_wait_for_a_frozen_server_ends_soon_after_its_deadline() {
    let server = Server::start();
    let locks = server.client().await;
    locks.lock("warm").acquire().await.unwrap().release().await.unwrap();
    server.freeze();
    let began = std::time::Instant::now();
    let acquire = locks.lock("k").wait_at_most(Duration::from_millis(300));
    let error = acquire.acquire().await.unwrap_err();
    let waited = began.elapsed();
    server.thaw();
    assert!(error.is_unavailable(), "{error}");
    // The last attempt has a tenth of a second, as the server answered fast; the rest is for a
    // loaded machine.
    assert!(waited < Duration::from_millis(1_200), "waited {waited:?} of 300 ms");
}
