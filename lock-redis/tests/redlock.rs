//! Quorums of real servers, some of which are frozen, dead, without their data, or named twice.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lock_core::LockClient;
use lock_core::backend::ProviderUrl;
use lock_core::registry::ProviderRegistry;
use lock_redis::RedlockConfig;
use support::Server;
use support::contest::Contest;

const LIMIT: Duration = Duration::from_secs(30);
/// Longer than a healthy server takes on a loaded machine, and shorter than the tests' limits.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn servers<const N: usize>() -> [Server; N] {
    std::array::from_fn(|_| Server::start())
}

fn config(servers: &[Server]) -> RedlockConfig {
    RedlockConfig::new(servers.iter().map(Server::config)).node_timeout(NODE_TIMEOUT)
}

async fn client(servers: &[Server]) -> LockClient {
    LockClient::new(config(servers).connect().await.unwrap())
}

async fn until(condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            tokio::time::sleep(ms(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, met).await.expect("it comes in time");
}

fn holds(server: &Server, key: &str) -> bool {
    server.send(&["EXISTS", key]).starts_with(":1")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_a_frozen_minority_is_not_waited_for_even_once() {
    let servers = servers::<5>();
    let quorum = config(&servers).node_timeout(LIMIT).connect().await.unwrap();
    let locks = LockClient::builder(quorum).request_timeout(LIMIT * 2).build().unwrap();
    servers[1].freeze();
    servers[3].freeze();
    let began = Instant::now();
    for _ in 0..20 {
        let guard = locks.lock("k").acquire().await.unwrap();
        guard.renew_to(ms(10_000)).await.unwrap();
        guard.release().await.unwrap();
    }
    assert!(began.elapsed() < LIMIT, "a frozen server was waited for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_a_frozen_minority_does_not_hold_up_connecting() {
    let servers = servers::<5>();
    drop(client(&servers).await); // a new quorum needs all its nodes once
    servers[1].freeze();
    servers[3].freeze();
    let began = Instant::now();
    let locks = client(&servers).await;
    assert!(began.elapsed() < LIMIT / 2, "{:?}", began.elapsed()); // connecting may take `LIMIT`
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    // A node that answers and fails the checks is reported, even beside a majority.
    servers[3].thaw();
    servers[4].command("CONFIG SET maxmemory-policy volatile-ttl");
    let error = config(&servers).connect().await.unwrap_err();
    assert!(error.is_misconfigured(), "{error}");
    assert!(began.elapsed() < LIMIT, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_a_new_quorum_waits_for_a_node_that_is_slow_to_connect() {
    let servers = servers::<3>();
    servers[2].freeze();
    let connecting = tokio::spawn(config(&servers).node_timeout(ms(50)).connect());
    // After the node timeout, the others are found to have no mark.
    until(|| servers[0].calls("eval") + servers[0].calls("evalsha") > 0).await;
    assert!(!connecting.is_finished());
    servers[2].thaw();
    connecting.await.unwrap().unwrap();
    assert!(servers.iter().all(server_keeps_the_mark));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_bq2_what_a_frozen_node_grants_too_late_is_undone() {
    let servers = servers::<3>();
    let locks = client(&servers).await;
    servers[2].freeze();
    locks.lock("k").ttl(ms(50_000)).acquire().await.unwrap().release().await.unwrap();
    servers[2].thaw();
    until(|| server_has_answered(&servers[2])).await;
    until(|| !holds(&servers[2], "k")).await;
    drop(locks.lock("k").no_wait().acquire().await.unwrap());
}

fn server_keeps_the_mark(server: &Server) -> bool {
    server.command("KEYS *settled").contains("settled")
}

/// Whether both requests of a cycle have arrived.
fn server_has_answered(server: &Server) -> bool {
    server.calls("evalsha") >= 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_bq4_r37_a_frozen_majority_is_unavailable_in_bounded_time() {
    let servers = servers::<5>();
    let config = config(&servers).node_timeout(ms(300)).connect().await.unwrap();
    let locks = LockClient::builder(config).unavailable_after(ms(1)).build().unwrap();
    servers[..3].iter().for_each(Server::freeze);
    for _ in 0..3 {
        let began = Instant::now();
        let error = locks.lock("k").acquire().await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        assert!(error.to_string().contains("need 3 of 5 nodes"), "{error}");
        assert!(began.elapsed() < ms(5_000), "{:?}", began.elapsed());
    }
    servers[..3].iter().for_each(Server::thaw);
    let recovered = async { while locks.lock("k").acquire().await.is_err() {} };
    tokio::time::timeout(LIMIT, recovered).await.expect("it recovers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_r37_a_dead_minority_costs_nothing() {
    let mut servers = servers::<3>();
    drop(client(&servers).await); // a new quorum needs all its nodes once
    servers[0].kill();
    let locks = client(&servers).await;
    let guard = locks.lock("k").ttl(ms(20_000)).auto_renew().acquire().await.unwrap();
    let token = guard.fencing_token();
    servers[0].start_again(); // without its data, so it is left out
    guard.renew_to(ms(20_000)).await.unwrap();
    assert!(guard.is_held() && guard.fencing_token() == token);
    guard.release().await.unwrap();
    servers[1].kill();
    let error = locks.lock("k").no_wait().acquire().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_q1_r5_a_node_that_has_forgotten_is_left_out_until_it_has_settled() {
    let mut servers = servers::<3>();
    let connect = || config(&servers).settle(Some(ms(3_000))).connect();
    let locks = LockClient::new(connect().await.unwrap());
    let too_long = locks.lock("k").ttl(ms(3_001)).acquire().await.unwrap_err();
    assert!(too_long.is_invalid(), "{too_long}");
    // The snapshot has the mark, but not the lease that is granted after it.
    servers.iter().for_each(|server| drop(server.command("SAVE")));
    let first = locks.lock("k").ttl(ms(3_000)).acquire().await.unwrap();
    let token = first.fencing_token();
    servers[0].start_again();
    assert!(server_keeps_the_mark(&servers[0]));
    // The node that has forgotten, and one whose lease never arrived, would be a majority.
    servers[1].command("DEL k");
    let other =
        LockClient::builder(config(&servers).settle(Some(ms(3_000))).connect().await.unwrap())
            .ttl(ms(2_000))
            .build()
            .unwrap();
    let error = other.lock("k").no_wait().acquire().await.unwrap_err();
    assert!(error.is_contended(), "{error}");
    let next = other.lock("k").wait_at_most(LIMIT).acquire().await.unwrap();
    assert!(!first.is_held(), "two hold the lock");
    assert!(next.fencing_token() > token);
    servers[2].kill();
    drop(next);
    // Now the settled node makes up a majority.
    let last = other.lock("k").wait_at_most(LIMIT).acquire().await.unwrap();
    assert!(last.is_held());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t1_a_url_whose_servers_settle_too_soon_for_the_default_ttl_is_refused() {
    let servers = servers::<3>();
    let hosts = servers.each_ref().map(|server| format!("127.0.0.1:{}", server.port)).join(",");
    let registry = ProviderRegistry::new().register(lock_redis::factory()).unwrap();
    let url = |settle| format!("redlock://{hosts}/?connect_timeout=30s&settle={settle}");
    let error = registry.connect(&url("2s")).await.unwrap_err();
    assert!(error.is_invalid(), "{error:?}");
    assert!(error.to_string().contains("keeps 1ms to 2s"), "{error}");
    registry.connect(&url("30s")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_r36_a_server_that_is_named_twice_is_refused() {
    let servers = servers::<2>();
    let url = |ports: [u16; 3]| {
        let hosts = ports.map(|port| format!("127.0.0.1:{port}")).join(",");
        ProviderUrl::parse(&format!("redlock://{hosts}/?prefix=app:")).unwrap()
    };
    let [one, two] = [servers[0].port, servers[1].port];
    let twice = RedlockConfig::from_url(&url([one, two, one])).unwrap();
    let error = twice.connect().await.unwrap_err();
    assert!(error.is_misconfigured(), "{error}");
    assert!(error.to_string().contains("are the same server"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_r36_a_replica_is_refused() {
    let servers = servers::<3>();
    servers[2].command(&format!("REPLICAOF 127.0.0.1 {}", servers[0].port));
    let error = config(&servers).connect().await.unwrap_err();
    assert!(error.is_misconfigured(), "{error}");
    assert!(error.to_string().contains("connect to its master"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_q1_bq1_the_grants_of_a_minority_are_undone() {
    let servers = servers::<5>();
    let locks = client(&servers).await;
    for server in &servers[..3] {
        server.send(&["SET", "k", "somebody", "PX", "60000"]);
    }
    let error = locks.lock("k").ttl(ms(60_000)).no_wait().acquire().await.unwrap_err();
    assert!(error.is_contended(), "{error}");
    until(|| !holds(&servers[3], "k") && !holds(&servers[4], "k")).await;
    assert!(servers[..3].iter().all(|server| holds(server, "k")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_f1_q1_bq3_r38_clients_that_split_the_votes_are_all_served() {
    let servers = servers::<5>();
    let (inside, last) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut workers = Vec::new();
    for _ in 0..6 {
        let (locks, inside, last) =
            (client(&servers).await, Arc::clone(&inside), Arc::clone(&last));
        workers.push(tokio::spawn(async move {
            for _ in 0..10 {
                let guard = locks.lock("k").wait_at_most(LIMIT).acquire().await.unwrap();
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                let token = guard.fencing_token().unwrap().as_u64();
                assert!(last.swap(token, Ordering::SeqCst) < token, "a token fell");
                tokio::time::sleep(ms(1)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                guard.release().await.unwrap();
            }
        }));
    }
    for worker in workers {
        tokio::time::timeout(LIMIT, worker).await.expect("nobody starves").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn q1_acquire_and_release_take_one_round_trip_each() {
    let servers = servers::<5>();
    let locks = client(&servers).await;
    locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    let before: Vec<_> = servers.iter().map(|server| server.calls("evalsha")).collect();
    for _ in 0..100 {
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
    }
    let all_in = || {
        let sent = servers.iter().zip(&before).map(|(server, n)| server.calls("evalsha") - n);
        sent.sum::<u64>()
    };
    until(|| all_in() >= 1_000).await;
    // One acquisition and one release per node, and a raise if the machine stood still.
    assert!(all_in() <= 1_050, "{} commands for 100 cycles on 5 nodes", all_in());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_saves_its_data_keeps_its_mark() {
    let servers = servers::<3>();
    let locks = client(&servers).await;
    let mark = || servers[0].send(&["GET", "\u{1f}settled"]).lines().nth(1).unwrap().to_owned();
    let first = mark();
    assert!(first.ends_with(" 0 0"), "{first:?}");
    for _ in 0..2 {
        // The time of the last save enters the mark once it is two seconds ago.
        let known = mark();
        let give_up = Instant::now() + LIMIT;
        while mark() == known {
            assert!(Instant::now() < give_up, "it is never remembered");
            locks.lock("k").acquire().await.unwrap().release().await.unwrap();
        }
        servers.iter().for_each(|server| drop(server.command("SAVE")));
        locks.lock("k").no_wait().acquire().await.unwrap().release().await.unwrap();
    }
    let process = |mark: &str| mark.split(' ').next().unwrap().to_owned();
    assert_eq!(process(&mark()), process(&first));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_r14_contenders_go_on_while_connections_are_cut() {
    let servers = servers::<3>();
    let mut contest = Contest::new(LIMIT);
    for _ in 0..3 {
        let quorum = config(&servers).connect().await.unwrap();
        contest.enter(LockClient::builder(quorum).unavailable_after(LIMIT).build().unwrap());
    }
    contest.until_all_held(1).await;
    contest.cut_off(&servers, 20).await;
    contest.end().await;
}
