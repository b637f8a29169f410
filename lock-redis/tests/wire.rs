//! What is stored in Redis: a string, as other lock libraries write it, and siblings beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use lock_core::{FencingToken, LockClient, Metadata, OwnerToken};
use lock_redis::RedisProvider;
use support::Server;

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn number(reply: &str) -> u64 {
    let text = reply.trim_start_matches(':').trim_end();
    text.parse().unwrap_or_else(|_| panic!("{reply:?} is no number"))
}

#[tokio::test]
async fn the_value_is_token_and_metadata_under_prefix_and_key() {
    let server = Server::start();
    let config = server.config().prefix("app:");
    let locks = LockClient::new(RedisProvider::connect(config).await.unwrap());
    let token = OwnerToken::mint().unwrap();
    let acquire = locks.lock("invoice/42").owner_token(token).metadata("worker-7");
    let guard = acquire.ttl(Duration::from_secs(30)).acquire().await.unwrap();
    let value = format!("{}\u{1f}worker-7", token.expose());
    assert_eq!(server.command("GET app:invoice/42"), bulk(&value));
    let left = number(&server.command("PTTL app:invoice/42"));
    assert!((1..=30_000).contains(&left), "{left}");
    let fence = server.send(&["GET", "app:invoice/42\u{1f}fence{app:invoice/42}"]);
    assert_eq!(fence, bulk(&guard.fencing_token().unwrap().as_u64().to_string()));
    guard.release().await.unwrap();
    assert_eq!(server.command("EXISTS app:invoice/42"), ":0\r\n");
}

#[tokio::test]
async fn plain_string_locks_of_other_libraries_exclude_us_and_are_excluded() {
    let server = Server::start();
    let locks = server.client().await;
    // Nearly every library sends this.
    assert_eq!(server.command("SET k theirs NX PX 60000"), "+OK\r\n");
    assert!(locks.lock("k").try_acquire().await.is_err_and(|e| e.is_contended()));
    let holder = locks.inspect("k").await.unwrap().holder().cloned().expect("a holder");
    assert!(holder.remaining().is_some() && holder.fencing().is_none());
    assert!(!format!("{holder:?}").contains("theirs"), "a foreign token is a secret as well");
    server.command("DEL k");
    let guard = locks.lock("k").acquire().await.unwrap();
    assert_eq!(server.command("SET k theirs NX PX 60000"), "$-1\r\n");
    guard.release().await.unwrap();
    // A value that is shorter than an owner token is foreign, whatever it begins with.
    server.command("SET k AAAA NX PX 60000");
    assert!(locks.lock("k").try_acquire().await.is_err_and(|e| e.is_contended()));
}

#[tokio::test]
async fn f1_bf3_the_token_is_the_servers_time_and_outlives_the_lease() {
    let server = Server::start();
    let locks = server.client().await;
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let before = now().as_micros();
    let guard = locks.lock("k").ttl(Duration::from_secs(30)).acquire().await.unwrap();
    let token = u128::from(guard.fencing_token().unwrap().as_u64());
    assert!(before <= token && token <= now().as_micros(), "{token} is not the time in µs");
    guard.release().await.unwrap();
    let left = number(&server.send(&["PTTL", "k\u{1f}fence{k}"]));
    let hour = 60 * 60 * 1000;
    assert!(left > hour && left <= hour + 30_000, "{left}");
}

#[tokio::test]
async fn f1_a_clock_that_was_set_back_does_not_set_tokens_back() {
    let server = Server::start();
    let locks = server.client().await;
    // The fence of a server whose clock was a day and a half ahead.
    let ahead = 36 * 60 * 60 * 1_000_000_u64;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let future = u64::try_from(now.as_micros()).unwrap() + ahead;
    let fence = "k\u{1f}fence{k}";
    server.send(&["SET", fence, &future.to_string(), "PX", "60000"]);
    let guard = locks.lock("k").acquire().await.unwrap();
    assert_eq!(guard.fencing_token(), FencingToken::new(future + 1));
    // The counter stays until the clock has caught up with it.
    let left = number(&server.send(&["PTTL", fence]));
    assert!(left > 36 * 60 * 60 * 1000, "{left}");
    guard.renew_to(Duration::from_secs(60)).await.unwrap();
    assert!(number(&server.send(&["PTTL", fence])) > 36 * 60 * 60 * 1000, "renewing keeps it");
    guard.release().await.unwrap();
}

#[tokio::test]
async fn u1_an_undo_leaves_a_tombstone_that_expires() {
    let server = Server::start();
    let locks = server.client().await;
    let token = OwnerToken::mint().unwrap();
    let detached = locks.lock("k").owner_token(token).acquire().await.unwrap();
    server.command("DEL k");
    assert!(detached.release().await.unwrap_err().is_lost());
    let owner = token.expose();
    let tombstone = format!("k\u{1f}undone\u{1f}{owner}{{k}}");
    let left = number(&server.send(&["PTTL", &tombstone]));
    assert!((30_000..=60_000).contains(&left), "{left}");
    let error = locks.lock("k").owner_token(token).acquire().await.unwrap_err();
    assert!(error.is_invalid() && error.to_string().contains("needs a fresh one"), "{error}");
}

#[tokio::test]
async fn the_largest_metadata_and_key_fit() {
    let server = Server::start();
    let locks = server.client().await;
    let note = vec![0xff; Metadata::MAX_LEN];
    let key = "k".repeat(lock_core::LockKey::MAX_LEN);
    let guard = locks.lock(&key).metadata(note.clone()).acquire().await.unwrap();
    let holder = locks.inspect(&key).await.unwrap().holder().cloned().expect("a holder");
    assert_eq!(holder.metadata().as_bytes(), note);
    guard.release().await.unwrap();
}

#[tokio::test]
async fn k1_bl33_all_keys_of_a_lock_are_in_the_slot_that_a_cluster_node_computes() {
    let node = Server::with(&["--cluster-enabled", "yes"]);
    let slot = |key: &str| number(&node.send(&["CLUSTER", "KEYSLOT", key]));
    let server = Server::start();
    let locks = server.client().await;
    for key in ["a", "{a}", "x{a}y{b}", "{", "}", "{}", "{}a", "}a{", "a}b", "a{b", "{{a}}"] {
        let guard = locks.lock(key).acquire().await.unwrap();
        server.send(&["DEL", key]);
        assert!(guard.release().await.unwrap_err().is_lost());
        let keys = server.command("KEYS *");
        let siblings: Vec<_> = keys.lines().filter(|line| line.contains('\u{1f}')).collect();
        assert_eq!(siblings.len(), 2, "{siblings:?}");
        for sibling in siblings {
            assert_eq!(slot(sibling), slot(key), "{key:?} {sibling:?}");
        }
        server.command("FLUSHALL");
    }
}
