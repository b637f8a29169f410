//! Former bugs of the queue on a real server, each with a test against its return.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use lock_core::backend::{Claim, Release, Ttl};
use lock_core::{
    Backoff, Fairness, LockClient, LockGuard, LockKey, LockProvider, Metadata, OwnerToken,
};
use tokio::task::JoinHandle;

use super::support::Server;
use super::{LIMIT, QUEUE, connections, ms, until, until_queued};

const FENCE: &str = "k\u{1f}fence{k}";

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn claim(key: &str, ttl: Duration) -> Claim {
    Claim::new(LockKey::new(key).unwrap(), OwnerToken::mint().unwrap(), Ttl::new(ttl).unwrap())
}

/// Starts a waiter that only a message wakes.
fn patient(client: &LockClient, key: &str) -> JoinHandle<LockGuard> {
    let acquire = client.lock(key).ttl(s(60)).wait_forever().retry(Backoff::fixed(LIMIT * 2));
    let acquire = acquire.fairness(Fairness::Turns).acquire();
    tokio::spawn(async move { acquire.await.unwrap() })
}

/// Cuts the subscription of the only waiter, and returns when its client has seen that.
async fn cut_subscription(server: &Server) {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    server.command("CLIENT KILL TYPE pubsub");
    until(|| tasks() < before).await;
}

async fn listen_for_another_key(server: &Server, client: &LockClient) {
    server.command("SET x somebody PX 60000");
    drop(patient(client, "x"));
    until(|| connections(server, "pubsub") == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_foreign_data_of_another_type_makes_no_waiter_spin() {
    let server = Server::start();
    server.send(&["LPUSH", "k", "x"]);
    server.send(&["PEXPIRE", "k", "60000"]);
    let waiters = [patient(&server.client().await, "k"), patient(&server.client().await, "k")];
    until(|| connections(&server, "pubsub") == 2).await;
    let before = server.calls("evalsha");
    tokio::time::sleep(s(2)).await;
    let calls = server.calls("evalsha") - before;
    // Each of the two asks every 10 to 50 ms: 30 ms on average.
    assert!(calls < 200, "{calls} requests in 2 s");
    waiters.iter().for_each(JoinHandle::abort);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_no_place_in_the_queue_outlives_its_undo_although_the_subscription_was_cut() {
    let server = Server::start();
    let holder = server.client().await.lock("k").ttl(s(60)).acquire().await.unwrap();
    let client = server.client().await;
    let gone = patient(&client, "k");
    until_queued(&server, 1).await;
    cut_subscription(&server).await;
    let before = server.calls("evalsha");
    gone.abort();
    until(|| server.calls("evalsha") > before).await; // it is undone
    listen_for_another_key(&server, &client).await;
    holder.release().await.unwrap();
    let held = server.client().await.inspect("k").await.unwrap();
    assert!(held.is_free(), "the undone claim holds the key: {held:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_no_holder_is_granted_its_own_release_although_the_subscription_was_cut() {
    let server = Server::start();
    let client = server.client().await;
    let first = client.lock("k").ttl(s(60)).acquire().await.unwrap();
    let second = patient(&client, "k");
    until_queued(&server, 1).await;
    cut_subscription(&server).await;
    first.release().await.unwrap(); // a hand-over
    let second = second.await.unwrap();
    listen_for_another_key(&server, &client).await;
    second.release().await.unwrap();
    let held = client.inspect("k").await.unwrap();
    assert!(held.is_free(), "the released claim holds the key: {held:?}");
}

#[tokio::test]
async fn x1_a_handover_does_not_overwrite_foreign_data_at_the_key_of_the_fencing_counter() {
    let server = Server::start();
    let p = server.provider().await;
    let (a, b) = (p.lock(claim("k", s(30))), claim("k", s(30)));
    let _ = a.try_acquire().await.unwrap();
    server.send(&["DEL", FENCE]);
    server.send(&["LPUSH", FENCE, "foreign"]);
    drop(a.as_hand_over().unwrap().hand_over(&b).await);
    let t = server.send(&["TYPE", FENCE]);
    assert!(t.contains("list"), "{t}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g5_a_racing_waiter_that_gives_up_leaves_the_queue() {
    let server = Server::start();
    let client = server.client().await;
    let _holder = client.lock("k").ttl(s(60)).auto_renew().acquire().await.unwrap();
    for _ in 0..50 {
        let r = client.lock("k").fairness(Fairness::Race).wait_at_most(ms(20)).acquire().await;
        assert!(r.unwrap_err().is_timed_out());
    }
    until_queued(&server, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn m3_the_queue_outlives_every_lease_that_was_reported_to_its_waiters() {
    let server = Server::start();
    let p = server.provider().await;
    let holder = p.lock(claim("k", s(1)));
    let _ = holder.try_acquire().await.unwrap();
    let _ = holder.renew(Ttl::new(s(3600)).unwrap()).await.unwrap();
    let w = p.lock(claim("k", s(60)));
    let (queue, other) = (w.as_queue().unwrap(), p.lock(claim("k", s(60))));
    let _subscription = queue.subscribe().await.unwrap();
    let _ = queue.try_acquire_or_enqueue().await.unwrap(); // it asks again in an hour at the latest
    let _ = holder.renew(Ttl::new(ms(500)).unwrap()).await.unwrap();
    let queue = other.as_queue().unwrap();
    let _another = queue.subscribe().await.unwrap();
    let _ = queue.try_acquire_or_enqueue().await.unwrap();
    let _ = other.release().await.unwrap(); // gives up
    let _ = holder.renew(Ttl::new(s(3600)).unwrap()).await.unwrap();
    let left = server.send(&["PTTL", QUEUE]);
    let left: u64 = left.trim().trim_start_matches(':').parse().unwrap();
    assert!(left > 3_600_000, "the waiter's place is kept for {left} ms; it knew of an hour");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g4_a_grant_with_metadata_is_confirmed_without_memory() {
    let server = Server::start();
    let holder = server.client().await.lock("k").ttl(s(60)).acquire().await.unwrap();
    let c = server.client().await;
    let w = tokio::spawn(async move {
        c.lock("k").ttl(s(60)).metadata("me").wait_at_most(s(5)).acquire().await
    });
    until_queued(&server, 1).await;
    server.command("CONFIG SET maxmemory 1");
    holder.release().await.unwrap();
    assert!(w.await.unwrap().unwrap().is_held());
}

#[tokio::test]
async fn u1_a_second_release_removes_a_late_copy_of_an_acquisition_from_the_queue() {
    let server = Server::start();
    let p = server.provider().await;
    let (holder, other) = (p.lock(claim("k", s(60))), p.lock(claim("k", s(60))));
    let _ = holder.try_acquire().await.unwrap();
    let w = p.lock(claim("k", s(60)));
    let queue = w.as_queue().unwrap();
    let _subscription = queue.subscribe().await.unwrap();
    let _ = queue.try_acquire_or_enqueue().await.unwrap();
    let place = server.send(&["ZRANGE", QUEUE, "0", "0"]);
    let place = place.lines().last().unwrap().trim().to_owned();
    // A copy of the request leaves, and its answer is not waited for.
    let mut copy = queue.try_acquire_or_enqueue();
    let sent = poll_fn(|context| Poll::Ready(copy.as_mut().poll(context).is_pending())).await;
    assert!(sent, "the copy was not sent");
    drop(copy);
    let _ = holder.release().await.unwrap();
    let _ = w.try_acquire().await.unwrap();
    assert_eq!(w.release().await.unwrap(), Release::Released);
    let _ = other.try_acquire().await.unwrap();
    server.send(&["ZADD", QUEUE, "1", &place]); // the copy arrives
    assert_eq!(w.release().await.unwrap(), Release::NotHeld);
    let left = server.send(&["ZCARD", QUEUE]);
    assert_eq!(left.trim(), ":0", "the undone owner has a place in the queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_an_owner_that_queues_and_then_listens_leaves_the_queue_when_it_is_undone() {
    let server = Server::start();
    let p = server.provider().await;
    let holder = p.lock(claim("k", s(60)));
    let _ = holder.try_acquire().await.unwrap();
    let w = p.lock(claim("k", s(60)));
    let _subscription = w.as_queue().unwrap().subscribe().await.unwrap();
    let _ = w.as_queue().unwrap().try_acquire_or_enqueue().await.unwrap();
    let _ = w.as_hints().unwrap().try_acquire_or_listen().await.unwrap();
    let _ = w.release().await.unwrap();
    until_queued(&server, 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e2_a_confirmation_with_metadata_after_a_renewal_does_not_shorten_the_lease() {
    let server = Server::start();
    let p = server.provider().await;
    let holder = p.lock(claim("k", s(60)));
    let _ = holder.try_acquire().await.unwrap();
    let w = p.lock(claim("k", s(10)).with_metadata(Metadata::new("me").unwrap()));
    let _subscription = w.as_queue().unwrap().subscribe().await.unwrap();
    let _ = w.as_queue().unwrap().try_acquire_or_enqueue().await.unwrap();
    let _ = holder.release().await.unwrap(); // the queue grants to the waiter
    let _ = w.renew(Ttl::new(s(60)).unwrap()).await.unwrap();
    let _ = w.try_acquire().await.unwrap();
    let left = server.send(&["PTTL", "k"]);
    let left: u64 = left.trim().trim_start_matches(':').parse().unwrap();
    assert!(left > 50_000, "renewed to a minute, then acquired again for 10 s: {left} ms are left");
}
