//! Attacks on the line of a key on a real server, each kept from coming back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]
mod support;
use lock_core::{Backoff, Claim, Fairness, LockKey, LockProvider, OwnerToken, Ttl, WatchKind};
use std::time::Duration;
use support::Server;
use tokio::time::{Instant, sleep};

const fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}
const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}
const LINE: &str = "k\u{1f}line{k}";
const FENCE: &str = "k\u{1f}fence{k}";
fn claim(key: &str, ttl: Duration) -> Claim {
    Claim::new(LockKey::new(key).unwrap(), OwnerToken::mint().unwrap(), Ttl::new(ttl).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_a_foreign_key_of_another_type_makes_nobody_spin() {
    let server = Server::start();
    let (one, two) = (server.client().await, server.client().await);
    server.send(&["LPUSH", "k", "x"]);
    server.send(&["PEXPIRE", "k", "60000"]);
    for c in [one, two] {
        tokio::spawn(async move {
            drop(
                c.lock("k")
                    .fairness(Fairness::Turns)
                    .wait_forever()
                    .retry(Backoff::fixed(s(30)))
                    .acquire()
                    .await,
            );
        });
    }
    sleep(s(1)).await;
    let before = server.calls("evalsha");
    sleep(s(2)).await;
    let calls = server.calls("evalsha") - before;
    assert!(calls < 50, "{calls} requests in 2 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_no_place_in_line_outlives_its_undo_although_the_subscription_was_cut() {
    let server = Server::start();
    let holder = server.client().await.lock("k").ttl(s(60)).acquire().await.unwrap();
    let client = server.client().await;
    let waiting = |key: &'static str| {
        let c = client.clone();
        tokio::spawn(async move {
            drop(
                c.lock(key).ttl(s(60)).wait_forever().retry(Backoff::fixed(s(60))).acquire().await,
            );
        })
    };
    let gone = waiting("k");
    sleep(ms(300)).await;
    server.command("CLIENT KILL TYPE pubsub");
    sleep(ms(300)).await;
    gone.abort(); // it is undone
    sleep(ms(300)).await;
    // The client listens again, for another key.
    let _other = server.client().await.lock("x").ttl(s(60)).acquire().await.unwrap();
    let _w = waiting("x");
    sleep(ms(300)).await;
    holder.release().await.unwrap();
    let third = server.client().await;
    let held = third.inspect("k").await.unwrap();
    assert!(held.is_none(), "the undone claim holds the key: {held:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_no_holder_is_granted_its_own_release_although_the_subscription_was_cut() {
    let server = Server::start();
    let client = server.client().await;
    let first = client.lock("k").ttl(s(60)).acquire().await.unwrap();
    let waiting = |key: &'static str| {
        let c = client.clone();
        tokio::spawn(async move {
            c.lock(key)
                .ttl(s(60))
                .wait_forever()
                .retry(Backoff::fixed(s(60)))
                .acquire()
                .await
                .unwrap()
        })
    };
    let second = waiting("k"); // queues
    sleep(ms(300)).await;
    server.command("CLIENT KILL TYPE pubsub");
    sleep(ms(300)).await;
    first.release().await.unwrap(); // a hand-over
    let second = second.await.unwrap();
    let _other = server.client().await.lock("x").ttl(s(60)).acquire().await.unwrap();
    let _w = waiting("x"); // listens again
    sleep(ms(300)).await;
    second.release().await.unwrap();
    let held = client.inspect("k").await.unwrap();
    assert!(held.is_none(), "released, and yet: {held:?}");
}

#[tokio::test]
async fn x1_a_handover_does_not_overwrite_foreign_data_at_the_fence() {
    let server = Server::start();
    let p = server.provider().await;
    let (a, b) = (p.lock(claim("k", s(30))), claim("k", s(30)));
    a.try_acquire().await.unwrap();
    server.send(&["DEL", FENCE]);
    server.send(&["LPUSH", FENCE, "foreign"]);
    drop(a.hand_over(&b).await);
    let t = server.send(&["TYPE", FENCE]);
    assert!(t.contains("list"), "{t}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g5_a_racing_waiter_that_gives_up_leaves_the_line() {
    let server = Server::start();
    let client = server.client().await;
    let _holder = client.lock("k").ttl(s(60)).auto_renew().acquire().await.unwrap();
    for _ in 0..50 {
        let r = client.lock("k").fairness(Fairness::Race).wait_at_most(ms(20)).acquire().await;
        assert!(r.unwrap_err().is_timeout());
    }
    sleep(ms(200)).await;
    let n = server.send(&["ZCARD", LINE]);
    assert_eq!(n.trim(), ":0", "nobody waits any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn p5_the_line_outlasts_the_lease_that_its_waiters_were_told_of() {
    let server = Server::start();
    let p = server.provider().await;
    let holder = p.lock(claim("k", s(1)));
    holder.try_acquire().await.unwrap();
    holder.renew(Ttl::new(s(3600)).unwrap()).await.unwrap();
    let w = p.lock(claim("k", s(60)));
    let _watch = w.watch(WatchKind::Queue).await.unwrap().unwrap();
    w.try_acquire().await.unwrap(); // comes back in an hour at the latest
    holder.renew(Ttl::new(ms(500)).unwrap()).await.unwrap();
    let v = p.lock(claim("k", s(60)));
    let _watch2 = v.watch(WatchKind::Queue).await.unwrap().unwrap();
    v.try_acquire().await.unwrap();
    v.release().await.unwrap(); // gives up
    holder.renew(Ttl::new(s(3600)).unwrap()).await.unwrap();
    let left = server.send(&["PTTL", LINE]);
    let left: u64 = left.trim().trim_start_matches(':').parse().unwrap();
    assert!(left > 3_600_000, "the waiter's place is kept for {left} ms; it knew of an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_a_subscription_that_was_cut_is_opened_again_at_once() {
    let server = Server::start();
    let holder = server.client().await.lock("k").ttl(s(60)).acquire().await.unwrap();
    let c = server.client().await;
    let w = tokio::spawn(async move {
        drop(
            c.lock("k")
                .ttl(s(60))
                .wait_forever()
                .retry(Backoff::fixed(s(20)))
                .acquire()
                .await
                .unwrap(),
        );
    });
    sleep(ms(1500)).await;
    server.command("CLIENT KILL TYPE pubsub");
    sleep(s(2)).await;
    holder.release().await.unwrap();
    let began = Instant::now();
    w.await.unwrap();
    assert!(began.elapsed() < s(2), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_grant_with_metadata_is_confirmed_without_memory() {
    let server = Server::start();
    let holder = server.client().await.lock("k").ttl(s(60)).acquire().await.unwrap();
    let c = server.client().await;
    let w = tokio::spawn(async move {
        c.lock("k").ttl(s(60)).metadata("me").wait_at_most(s(5)).acquire().await
    });
    sleep(ms(300)).await;
    server.command("CONFIG SET maxmemory 1");
    holder.release().await.unwrap();
    assert!(w.await.unwrap().unwrap().is_held());
}
