//! Redis Cluster: slots that move, and masters that fail, while locks are held.

#![cfg(feature = "cluster")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use lock_core::backend::{Attempt, Claim};
use lock_core::loss::Loss;
use lock_core::registry::ProviderRegistry;
use lock_core::{Backoff, LockClient, LockKey, LockProvider, OwnerToken};
use lock_redis::{RedisConfig, RedisProvider};
use support::cluster::{Cluster, ok};
use support::contest::Contest;
use support::released;

/// Longer than any failover takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
const TTL: Duration = Duration::from_secs(20);
/// How long a master is silent before it counts as dead, in ms.
const NODE_TIMEOUT: u32 = 1_500;

async fn soon<T>(event: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, event).await.expect("it comes in time")
}

/// Connects a client that waits until a failover is over.
async fn client(cluster: &Cluster) -> LockClient {
    let provider = RedisProvider::connect(cluster.config()).await.unwrap();
    LockClient::builder(provider).unavailable_after(LIMIT).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_names_a_cluster_by_some_nodes_and_keys_are_spread() {
    let cluster = Cluster::start(NODE_TIMEOUT);
    let registry = ProviderRegistry::new().register(lock_redis::factory()).unwrap();
    let locks = registry.connect(&cluster.url()).await.unwrap();
    let mut homes = [0; 3];
    for number in 0..30 {
        let key = format!("k{number}");
        let guard = locks.lock(&key).acquire().await.unwrap();
        homes[cluster.home(&key)] += 1;
        assert_eq!(cluster.servers[cluster.home(&key)].send(&["EXISTS", &key]), ":1\r\n");
        guard.release().await.unwrap();
    }
    assert!(homes.iter().all(|count| *count > 0), "{homes:?}");
    let database = format!("{}/3", cluster.url());
    let error = registry.connect(&database).await.unwrap_err();
    assert!(error.to_string().contains("no numbered databases"), "{error}");
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r31_a_cluster_is_connected_to_over_tls_by_its_names() {
    let cluster = Cluster::tls();
    let nodes = || cluster.servers.iter().map(|server| ("localhost", server.port));
    let config = RedisConfig::cluster(nodes()).over_tls().connect_timeout(LIMIT);
    assert!(RedisProvider::connect(config.clone()).await.is_err(), "a private authority");
    let locks = LockClient::new(RedisProvider::connect(config.ca(support::ca())).await.unwrap());
    for number in 0..10 {
        let guard = locks.lock(format!("k{number}")).acquire().await.unwrap();
        guard.release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r28_a_slot_that_moves_takes_its_locks_along() {
    let cluster = Cluster::start(NODE_TIMEOUT);
    let (from, slot) = (cluster.home("app:k"), cluster.slot("app:k"));
    let to = (from + 1) % 3;
    let [source, target] = [from, to].map(|number| &cluster.servers[number]);
    // The user has the fewest permissions of the README.
    let config = || cluster.config().user("locks").password(support::PASSWORD).prefix("app:");
    let connect = async || LockClient::new(RedisProvider::connect(config()).await.unwrap());
    let (locks, other) = (connect().await, connect().await);
    let acquire = locks.lock("k").ttl(TTL).renew_every(Duration::from_millis(10));
    let guard = acquire.acquire().await.unwrap();
    let waiter = tokio::spawn(async move { other.lock("k").wait_forever().acquire().await });
    support::sentinel::until(|| source.send(&["EXISTS", "app:k\u{1f}queue{app:k}"]) == ":1\r\n");
    ok(target, &["CLUSTER", "SETSLOT", &slot, "IMPORTING", &cluster.id(from)]);
    ok(source, &["CLUSTER", "SETSLOT", &slot, "MIGRATING", &cluster.id(to)]);
    let port = target.port.to_string();
    // The keys move one by one, so in between, each node has some of them.
    let keys = source.send(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]);
    for key in keys.lines().filter(|line| line.starts_with("app:k")) {
        ok(source, &["MIGRATE", "127.0.0.1", &port, key, "0", "5000"]);
        // A renewal succeeds, or is unavailable; it never reports a loss.
        let renewed = guard.renew_to(TTL).await;
        assert!(renewed.is_ok() || renewed.is_err_and(|error| error.is_unavailable()));
    }
    for server in [target, source] {
        ok(server, &["CLUSTER", "SETSLOT", &slot, "NODE", &cluster.id(to)]);
    }
    guard.renew_to(TTL).await.unwrap();
    assert!(guard.is_held());
    assert_eq!(target.send(&["EXISTS", "app:k"]), ":1\r\n");
    let token = guard.fencing_token();
    released(guard).await;
    let next = soon(waiter).await.unwrap().unwrap();
    assert!(next.fencing_token() > token);
    released(next).await;
}

/// A server reports unasked that a channel moves, and the driver takes that for the next answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e1_no_answer_is_taken_for_that_to_another_request_when_channels_move() {
    let cluster = Cluster::start(60_000);
    for server in &cluster.servers {
        ok(server, &["CONFIG", "SET", "cluster-require-full-coverage", "no"]);
    }
    let (home, slot) = (&cluster.servers[cluster.home("{t}")], cluster.slot("{t}"));
    let holder = client(&cluster).await;
    let provider = RedisProvider::connect(cluster.config()).await.unwrap();
    let claim = |key: &str| {
        let ttl = lock_core::backend::Ttl::new(LIMIT * 4).unwrap();
        Claim::new(LockKey::new(key).unwrap(), OwnerToken::mint().unwrap(), ttl)
    };
    let mut held = Vec::new();
    for number in 0..3 {
        let acquire = holder.lock(format!("{{t}}held{number}")).ttl(LIMIT * 4);
        held.push(acquire.acquire().await.unwrap());
    }
    let locks = LockClient::new(provider.clone());
    let waiters: Vec<_> = (0..3)
        .map(|number| {
            let lock = locks.lock(format!("{{t}}held{number}"));
            tokio::spawn(async move { lock.wait_forever().acquire().await })
        })
        .collect();
    let traffic: Vec<_> = (0..20)
        .map(|task| {
            let provider = provider.clone();
            tokio::spawn(async move {
                for turn in 0.. {
                    let of_another = turn % 2 == 0;
                    let key = if of_another {
                        "{t}held0".to_owned()
                    } else {
                        format!("{{t}}free{task}/{turn}")
                    };
                    let answer = provider.lock(claim(&key)).try_acquire().await;
                    match answer {
                        Ok(Attempt::Granted(_)) if of_another => return "a held key was granted",
                        Ok(Attempt::Held { .. }) if !of_another => return "a free key was refused",
                        Err(error) if !error.is_unavailable() => return "an error of another kind",
                        _ => {}
                    }
                }
                unreachable!()
            })
        })
        .collect();
    let listens = || home.command("PUBSUB SHARDCHANNELS").contains("{t}held");
    for _ in 0..20 {
        support::sentinel::until(listens);
        ok(home, &["CLUSTER", "DELSLOTS", &slot]);
        ok(home, &["CLUSTER", "ADDSLOTS", &slot]);
        home.command("CLIENT KILL TYPE pubsub");
    }
    for task in traffic {
        task.abort();
        if let Ok(wrong) = task.await {
            panic!("{wrong}");
        }
    }
    waiters.iter().for_each(tokio::task::JoinHandle::abort);
    for guard in held {
        released(guard).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_waiters_are_woken_by_releases_and_unused_channels_are_closed() {
    let cluster = Cluster::start(60_000);
    let provider = RedisProvider::connect(cluster.config()).await.unwrap();
    let other = RedisProvider::connect(cluster.config()).await.unwrap();
    // Only a message wakes these waiters in time.
    let patient = LockClient::builder(other).retry(Backoff::fixed(LIMIT * 2)).build().unwrap();
    let locks = LockClient::new(provider);
    let channels = || {
        let count = |server: &support::Server| {
            server
                .command("PUBSUB SHARDCHANNELS")
                .lines()
                .filter(|line| line.starts_with('k'))
                .count()
        };
        cluster.servers.iter().map(count).sum::<usize>()
    };
    let mut most = 0;
    for number in 0..130 {
        let key = format!("k{number}");
        let guard = locks.lock(&key).ttl(LIMIT * 2).acquire().await.unwrap();
        let (patient, waited) = (patient.clone(), key.clone());
        let waiter =
            tokio::spawn(async move { patient.lock(&waited).wait_forever().acquire().await });
        let home = &cluster.servers[cluster.home(&key)];
        let queue = format!("{key}\u{1f}queue{{{key}}}");
        support::sentinel::until(|| home.send(&["EXISTS", &queue]) == ":1\r\n");
        released(guard).await;
        released(soon(waiter).await.unwrap().unwrap()).await;
        most = most.max(channels());
    }
    assert!((50..=110).contains(&most), "{most} channels were open at a time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g2_f1_r8_a_lock_that_no_replica_has_is_lost_with_the_master_and_its_holder_learns_of_it() {
    let mut cluster = Cluster::start(NODE_TIMEOUT);
    let home = cluster.home("k");
    let (locks, other) = (client(&cluster).await, client(&cluster).await);
    cluster.servers[home + 3].freeze();
    // Data that was sent to a frozen replica would wait in its socket.
    cluster.servers[home].command("CLIENT KILL TYPE replica");
    let acquire = locks.lock("k").ttl(LIMIT).renew_every(Duration::from_millis(100));
    let guard = acquire.acquire().await.unwrap();
    cluster.servers[home].kill();
    cluster.servers[home + 3].thaw();
    let loss = soon(guard.lost()).await;
    assert!(matches!(loss, Some(Loss::NotYours)), "{loss:?}");
    let next = soon(other.lock("k").wait_forever().acquire()).await.unwrap();
    assert!(next.fencing_token() > guard.fencing_token());
    drop(guard);
    released(next).await;
}

/// No single request waits for long enough to notice the silence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r13_a_frozen_master_is_abandoned_even_by_requests_with_a_short_limit() {
    let cluster = Cluster::start(NODE_TIMEOUT);
    let provider =
        RedisProvider::connect(cluster.config().connect_timeout(LIMIT / 30)).await.unwrap();
    let hasty = LockClient::builder(provider).request_timeout(Duration::from_millis(300));
    let locks = hasty.unavailable_after(LIMIT).build().unwrap();
    released(locks.lock("k").acquire().await.unwrap()).await;
    cluster.servers[cluster.home("k")].freeze();
    released(soon(locks.lock("k").acquire()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r28_a_demoted_master_is_abandoned_for_its_successor() {
    let cluster = Cluster::start(NODE_TIMEOUT);
    let home = cluster.home("k");
    let locks = client(&cluster).await;
    let acquire = locks.lock("k").ttl(TTL).renew_every(Duration::from_millis(10));
    let guard = acquire.acquire().await.unwrap();
    ok(&cluster.servers[home + 3], &["CLUSTER", "FAILOVER"]);
    support::sentinel::until(|| {
        cluster.servers[home + 3].command("INFO replication").contains("role:master")
    });
    guard.renew_to(TTL).await.unwrap();
    let token = guard.fencing_token();
    released(guard).await;
    let next = soon(locks.lock("k").wait_forever().acquire()).await.unwrap();
    assert!(next.fencing_token() > token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_r8_tokens_grow_across_a_failover_and_all_contenders_go_on() {
    let mut cluster = Cluster::start(NODE_TIMEOUT);
    let mut contest = Contest::new(LIMIT);
    for _ in 0..4 {
        contest.enter(client(&cluster).await);
    }
    contest.until_all_held(5).await;
    let home = cluster.home("k");
    cluster.servers[home].kill();
    contest.until_all_held(5).await;
    contest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r13_a_frozen_master_is_replaced_and_all_contenders_go_on() {
    let cluster = Cluster::start(NODE_TIMEOUT);
    let mut contest = Contest::new(LIMIT);
    for _ in 0..3 {
        // Opening connections anew waits for the frozen node for this long.
        let config = cluster.config().connect_timeout(Duration::from_secs(2));
        let provider = RedisProvider::connect(config).await.unwrap();
        contest.enter(LockClient::builder(provider).unavailable_after(LIMIT).build().unwrap());
    }
    contest.until_all_held(3).await;
    cluster.servers[cluster.home("k")].freeze();
    contest.until_all_held(3).await;
    contest.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f1_r14_contenders_go_on_while_connections_are_cut() {
    let cluster = Cluster::start(60_000);
    let mut contest = Contest::new(LIMIT);
    for _ in 0..3 {
        contest.enter(client(&cluster).await);
    }
    contest.until_all_held(1).await;
    contest.cut_off(&cluster.servers, 20).await;
    contest.end().await;
}
