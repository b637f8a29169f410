//! Waiting on a real server: its cost, the order of waiters, and lost messages.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod attacks;
mod rivals;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lock_core::{Backoff, Capability, Fairness, LockClient, LockGuard, LockProvider, Result};
use lock_redis::{RedisConfig, RedisOptions, RedisProvider};
use support::{PASSWORD, Server};
use tokio::task::JoinHandle;

const LIMIT: Duration = Duration::from_secs(30);
const QUEUE: &str = "k\u{1f}queue{k}";

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Waits for an event, with a limit.
async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, event).await.expect("it comes in time")
}

/// Waits until a condition holds.
async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
}

fn waiter(locks: &LockClient, fairness: Fairness) -> JoinHandle<Result<LockGuard>> {
    let acquire = locks.lock("k").ttl(ms(60_000)).wait_at_most(LIMIT).fairness(fairness);
    tokio::spawn(acquire.acquire())
}

/// Waits until this many waiters are in the key's queue.
async fn until_queued(server: &Server, count: usize) {
    until(|| server.send(&["ZCARD", QUEUE]).trim() == format!(":{count}")).await;
}

/// Counts the clients' connections of a kind. The test's own go over the unix socket.
fn connections(server: &Server, kind: &str) -> usize {
    let list = server.command(&format!("CLIENT LIST TYPE {kind}"));
    list.lines().filter(|line| line.contains("addr=127.")).count()
}

/// Lets all waiters of two clients acquire and release once. Checks that no two hold the lock at a
/// time and that tokens grow, and returns how many commands the clients sent.
async fn drain(server: &Server, count: usize, fairness: Fairness) -> u64 {
    let clients = [server.client().await, server.client().await];
    let holder = clients[0].lock("k").acquire().await.unwrap();
    let last = Arc::new(AtomicU64::new(0));
    let waiters: Vec<_> = (0..count)
        .map(|number| {
            let (waiter, last) = (waiter(&clients[number % 2], fairness), Arc::clone(&last));
            tokio::spawn(async move {
                let guard = waiter.await.unwrap().unwrap();
                let token = guard.fencing_token().unwrap().as_u64();
                let before = last.swap(token, Ordering::SeqCst);
                assert!(before < token, "{token} after {before}");
                assert_eq!(last.load(Ordering::SeqCst), token, "two hold at a time");
                guard.release().await.unwrap();
            })
        })
        .collect();
    until_queued(server, if fairness == Fairness::Fifo { count } else { 2 }).await;
    server.command("CONFIG RESETSTAT");
    holder.release().await.unwrap();
    for waiter in waiters {
        soon(waiter).await.unwrap();
    }
    assert_eq!(connections(server, "pubsub"), 2, "one subscription per provider");
    assert_eq!(connections(server, "normal"), 4, "two connections per provider");
    server.calls("evalsha")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r40_ten_thousand_waiters_are_all_served() {
    let server = Server::start();
    let sent = drain(&server, 10_000, Fairness::Turns).await;
    assert!(sent <= 20_000, "{sent} commands for 10,000 acquisitions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r40_two_thousand_waiters_in_strict_order_are_all_served() {
    let server = Server::start();
    let sent = drain(&server, 2_000, Fairness::Fifo).await;
    assert!(sent <= 6_000, "{sent} commands for 2,000 acquisitions");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_racing_clients_are_woken_by_a_release() {
    let server = Server::start();
    let sent = drain(&server, 200, Fairness::Race).await;
    assert!(sent <= 800, "{sent} commands for 200 acquisitions");
}

#[tokio::test]
async fn w2_two_hundred_idle_waiters_send_two_commands_per_second_at_most() {
    let server = Server::start();
    let (locks, other) = (server.client().await, server.client().await);
    let holder = other.lock("k").ttl(ms(60_000)).acquire().await.unwrap();
    let waiters: Vec<_> = (0..200).map(|_| waiter(&locks, Fairness::Turns)).collect();
    until_queued(&server, 1).await;
    tokio::time::sleep(ms(3_000)).await;
    server.command("CONFIG RESETSTAT");
    let began = Instant::now();
    tokio::time::sleep(ms(6_000)).await;
    let (sent, seconds) = (server.calls("evalsha"), began.elapsed().as_secs_f64());
    assert!(sent as f64 <= 2.0 * seconds, "{sent} commands in {seconds} s");
    assert_eq!(connections(&server, "pubsub"), 1);
    waiters.iter().for_each(JoinHandle::abort);
    holder.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m3_fifo_leaves_nobody_out_when_many_come_at_once() {
    let server = Server::start();
    for round in 0..3 {
        let (locks, key) = (server.client().await, format!("k{round}"));
        let served = Arc::new([(); 16].map(|()| AtomicU64::new(0)));
        let workers: Vec<_> = (0..16)
            .map(|number| {
                let (locks, key, served) = (locks.clone(), key.clone(), Arc::clone(&served));
                tokio::spawn(async move {
                    loop {
                        let acquire = locks.lock(key.as_str()).fairness(Fairness::Fifo);
                        let guard = acquire.acquire().await.unwrap();
                        served[number].fetch_add(1, Ordering::SeqCst);
                        guard.release().await.unwrap();
                    }
                })
            })
            .collect();
        let count = |number: usize| served[number].load(Ordering::SeqCst);
        soon(async {
            while (0..16).map(count).sum::<u64>() < 400 {
                tokio::time::sleep(ms(5)).await;
            }
        })
        .await;
        let turns: Vec<_> = (0..16).map(count).collect();
        assert!(turns.iter().all(|turns| *turns >= 10), "{turns:?}");
        workers.iter().for_each(JoinHandle::abort);
    }
}

#[tokio::test]
async fn bp5_a_waiter_whose_connection_is_gone_is_passed_over_at_once() {
    let server = Server::start();
    let holder = server.client().await.lock("k").acquire().await.unwrap();
    // A process that is killed undoes nothing, but its sockets are closed.
    let doomed = server.provider().await;
    let claim = lock_core::backend::Claim::new(
        "k".try_into().unwrap(),
        lock_core::OwnerToken::mint().unwrap(),
        lock_core::backend::Ttl::new(ms(60_000)).unwrap(),
    );
    let lock = doomed.lock(claim);
    let queue = lock.as_queue().unwrap();
    let subscription = queue.subscribe().await.unwrap();
    let _ = queue.try_acquire_or_enqueue().await.unwrap();
    until_queued(&server, 1).await;
    let locks = server.client().await;
    let next = waiter(&locks, Fairness::Turns);
    until_queued(&server, 2).await;
    drop((subscription, lock, doomed));
    soon(async {
        while connections(&server, "pubsub") != 1 {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    let freed = Instant::now();
    holder.release().await.unwrap();
    let guard = soon(next).await.unwrap().unwrap();
    assert!(freed.elapsed() < ms(900), "waited {:?} for the dead", freed.elapsed());
    guard.release().await.unwrap();
}

#[tokio::test]
async fn n1_a_foreign_release_is_noticed_soon() {
    let server = Server::start();
    let locks = server.client().await;
    server.command("SET k somebody PX 60000");
    let waiter = waiter(&locks, Fairness::Turns);
    until_queued(&server, 1).await;
    let freed = Instant::now();
    server.command("DEL k");
    let guard = soon(waiter).await.unwrap().unwrap();
    let waited = freed.elapsed();
    assert!(waited < ms(1_000), "waited {waited:?}");
    guard.release().await.unwrap();
}

#[tokio::test]
async fn n1_the_end_of_a_foreign_lease_is_noticed_when_it_comes() {
    let server = Server::start();
    let locks = LockClient::builder(server.provider().await)
        .retry(Backoff::fixed(ms(30_000)))
        .build()
        .unwrap();
    server.command("SET k somebody PX 700");
    let waiter = waiter(&locks, Fairness::Turns);
    let guard = soon(waiter).await.unwrap().unwrap();
    assert!(guard.is_held());
    guard.release().await.unwrap();
}

#[tokio::test]
async fn n1_r41_a_subscription_that_is_cut_is_opened_again() {
    let server = Server::start();
    let other = server.client().await;
    // Only a message ends this wait.
    let builder = LockClient::builder(server.provider().await).retry(Backoff::fixed(LIMIT * 2));
    let locks = builder.build().unwrap();
    let mut holder = other.lock("k").ttl(ms(60_000)).acquire().await.unwrap();
    for round in 0..5 {
        let waiter = waiter(&locks, Fairness::Turns);
        until_queued(&server, 1).await;
        // A subscription that was cut within its first second is not opened again at once.
        tokio::time::sleep(ms(1_100)).await;
        server.command("CLIENT KILL TYPE pubsub");
        until(|| connections(&server, "pubsub") == 1).await;
        let freed = Instant::now();
        holder.release().await.unwrap();
        let guard = soon(waiter).await.unwrap().unwrap();
        assert!(freed.elapsed() < ms(900), "round {round}: waited {:?}", freed.elapsed());
        guard.release().await.unwrap();
        holder = other.lock("k").ttl(ms(60_000)).acquire().await.unwrap();
    }
    holder.release().await.unwrap();
}

#[tokio::test]
async fn n1_r41_a_cut_between_every_two_releases_starves_nobody() {
    let server = Server::start();
    let clients = [server.client().await, server.client().await];
    let workers: Vec<_> = (0..8)
        .map(|number| {
            let locks = clients[number % 2].clone();
            tokio::spawn(async move {
                for _ in 0..20 {
                    let guard = locks.lock("k").wait_at_most(LIMIT).acquire().await.unwrap();
                    tokio::time::sleep(ms(1)).await;
                    guard.release().await.unwrap();
                }
            })
        })
        .collect();
    for _ in 0..30 {
        server.command("CLIENT KILL TYPE pubsub");
        tokio::time::sleep(ms(7)).await;
    }
    for worker in workers {
        soon(worker).await.unwrap();
    }
}

#[tokio::test]
async fn n1_without_the_permission_to_publish_or_subscribe_waiters_poll() {
    for right in ["-publish", "-subscribe", "resetchannels"] {
        let server = Server::acl();
        server.command(&format!("ACL SETUSER locks {right}"));
        let config = || server.config().user("locks").password(PASSWORD).prefix("app:");
        let client = async |config: RedisConfig| {
            LockClient::new(RedisProvider::connect(config).await.unwrap())
        };
        let (locks, other) = (client(config()).await, client(config()).await);
        let holder = other.lock("k").acquire().await.unwrap();
        let waiter = waiter(&locks, Fairness::Turns);
        until(|| server.calls("evalsha") >= 4).await;
        holder.release().await.unwrap();
        soon(waiter).await.unwrap().unwrap().release().await.unwrap();
        let refusals = server.command("ACL LOG 100").matches("cmd=subscribe").count();
        assert!(refusals <= 1, "{right}: the server is asked again and again: {refusals}");
    }
}

#[tokio::test]
async fn w2_a_client_that_speaks_resp2_is_woken_by_a_release() {
    let server = Server::start();
    let client = redis::Client::open(server.url()).unwrap();
    let provider = RedisProvider::with_client(&client, RedisOptions::new()).await.unwrap();
    assert!(lock_core::Capabilities::of(&provider).has(Capability::Queue));
    let locks = LockClient::builder(provider).retry(Backoff::fixed(LIMIT)).build().unwrap();
    let holder = server.client().await.lock("k").acquire().await.unwrap();
    let waiter = waiter(&locks, Fairness::Turns);
    until_queued(&server, 1).await;
    holder.release().await.unwrap();
    soon(waiter).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn x1_foreign_data_at_the_key_of_the_queue_keeps_nobody_from_the_lock() {
    let server = Server::start();
    let locks = server.client().await;
    server.send(&["SET", QUEUE, "not a queue"]);
    let guard = locks.lock("k").acquire().await.unwrap();
    let other = server.client().await;
    let waiter = waiter(&other, Fairness::Turns);
    until(|| server.calls("evalsha") >= 4).await;
    guard.release().await.unwrap();
    soon(waiter).await.unwrap().unwrap().release().await.unwrap();
    assert!(server.send(&["GET", QUEUE]).contains("not a queue"));
}

#[tokio::test]
async fn g4_a_server_without_memory_serves_the_queue() {
    let server = Server::start();
    let (locks, other) = (server.client().await, server.client().await);
    let holder = locks.lock("k").acquire().await.unwrap();
    let waiter = waiter(&other, Fairness::Turns);
    until_queued(&server, 1).await;
    server.command("CONFIG SET maxmemory 1");
    holder.release().await.unwrap();
    // The script removes the waiter from the queue first, so the server lets it write the grant.
    soon(waiter).await.unwrap().unwrap().release().await.unwrap();
    assert_eq!(server.command("EXISTS k").trim(), ":0");
}

#[tokio::test]
async fn g4_a_handover_on_a_server_without_memory_frees_the_key() {
    let server = Server::start();
    let locks = server.client().await;
    let holder = locks.lock("k").acquire().await.unwrap();
    // Only the first of the two is in the server's queue; the other waits behind it in the client.
    let waiters = [waiter(&locks, Fairness::Turns), waiter(&locks, Fairness::Turns)];
    until_queued(&server, 1).await;
    server.command("CONFIG SET maxmemory 1");
    holder.release().await.unwrap();
    server.command("CONFIG SET maxmemory 0");
    for waiter in waiters {
        soon(waiter).await.unwrap().unwrap().release().await.unwrap();
    }
}

#[tokio::test]
async fn a_queue_without_waiters_leaves_only_the_fence() {
    let server = Server::start();
    // Only a grant by the queue ends these waits, so no owner is granted the key in two ways.
    let patient = async || {
        let builder = LockClient::builder(server.provider().await).retry(Backoff::fixed(LIMIT * 2));
        builder.build().unwrap()
    };
    let (one, two) = (patient().await, patient().await);
    for _ in 0..5 {
        let holder = one.lock("k").acquire().await.unwrap();
        let waiter = waiter(&two, Fairness::Turns);
        until_queued(&server, 1).await;
        holder.release().await.unwrap();
        soon(waiter).await.unwrap().unwrap().release().await.unwrap();
        let left = server.command("KEYS *");
        assert!(left.starts_with("*1\r\n") && left.contains("fence"), "{left:?}");
    }
}

#[tokio::test]
async fn u1_what_a_crowd_of_waiters_leaves_behind_expires() {
    let server = Server::start();
    let sent = drain(&server, 50, Fairness::Turns).await;
    assert!(sent >= 50);
    assert_eq!(server.send(&["EXISTS", "k", QUEUE]).trim(), ":0");
    // An owner that was granted the key in two ways leaves a tombstone.
    for key in server.command("KEYS *").lines().filter(|line| line.contains("undone")) {
        let left: u64 = server.send(&["PTTL", key]).trim().trim_start_matches(':').parse().unwrap();
        assert!(left <= 60_000, "{key:?} stays for {left} ms");
    }
}
