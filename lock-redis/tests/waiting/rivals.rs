//! Lockers of other libraries on the same key, which send `SET NX PX` and `DEL`.

use super::*;

/// Starts a waiter that does not poll while a test lasts.
fn patient(locks: &LockClient, key: &str) -> JoinHandle<Result<LockGuard>> {
    let acquire = locks.lock(key).ttl(ms(60_000)).wait_forever().retry(Backoff::fixed(LIMIT * 2));
    tokio::spawn(acquire.acquire())
}

/// Whether the server reports changes of keys to a connection.
fn tracks(server: &Server) -> bool {
    let clients = server.command("CLIENT LIST TYPE pubsub");
    clients.split_whitespace().any(|word| word.starts_with("flags=") && word.contains('B'))
}

/// Ends a foreign hold of six seconds for several waiters, and returns how long each waited for it.
async fn waits_after_a_long_foreign_hold(server: &Server, locks: &LockClient) -> Vec<Duration> {
    let keys: Vec<_> = (0..5).map(|number| format!("app:k{number}")).collect();
    let waiters: Vec<_> = keys
        .iter()
        .map(|key| {
            server.command(&format!("SET {key} somebody PX 60000"));
            patient(locks, key.trim_start_matches("app:"))
        })
        .collect();
    tokio::time::sleep(ms(6_000)).await;
    let mut waits = Vec::new();
    for (key, waiter) in keys.iter().zip(waiters) {
        let freed = Instant::now();
        server.command(&format!("DEL {key}"));
        let guard = soon(waiter).await.unwrap().unwrap();
        waits.push(freed.elapsed());
        guard.release().await.unwrap();
    }
    waits.sort_unstable();
    waits
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_the_release_of_another_library_reaches_a_waiter_at_once() {
    let server = Server::start();
    let config = server.config().prefix("app:");
    let locks = LockClient::new(RedisProvider::connect(config).await.unwrap());
    let waits = waits_after_a_long_foreign_hold(&server, &locks).await;
    // By then a waiter without reports polls every 120 to 600 ms.
    assert!(waits[2] < ms(100), "the median of {waits:?}");
    // The reports end when the keys change again and nobody waits.
    for number in 0..5 {
        server.command(&format!("SET app:k{number} somebody PX 60000"));
    }
    until(|| !tracks(&server)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn w2_without_the_permission_to_track_a_waiter_polls_and_does_not_ask_for_it_again() {
    let server = Server::acl();
    server.command("ACL SETUSER locks -client|tracking");
    let config = server.config().user("locks").password(PASSWORD).prefix("app:");
    let locks = LockClient::new(RedisProvider::connect(config).await.unwrap());
    let waits = waits_after_a_long_foreign_hold(&server, &locks).await;
    assert!(waits[2] < ms(2_000), "the median of {waits:?}");
    let refusals = server.command("ACL LOG 100").matches("client|tracking").count();
    assert!(refusals <= 6, "asked again and again: {refusals}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n1_keys_that_begin_with_one_another_are_followed_together() {
    let server = Server::start();
    let locks = server.client().await;
    let keys = ["a", "ab", "abc", "b", "a:{x}"];
    let waiters = keys.map(|key| {
        server.command(&format!("SET {key} somebody PX 60000"));
        patient(&locks, key)
    });
    until(|| tracks(&server)).await;
    for (key, waiter) in keys.iter().zip(waiters) {
        server.command(&format!("DEL {key}"));
        soon(waiter).await.unwrap().unwrap().release().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_a_second_after_a_foreign_holder_a_released_key_is_free() {
    let server = Server::start();
    let (first, second) = (server.client().await, server.client().await);
    let mut free = 0;
    for _ in 0..10 {
        server.command("SET k somebody PX 60000");
        let waiters = [waiter(&first, Fairness::Turns), waiter(&second, Fairness::Turns)];
        until_queued(&server, 2).await;
        server.command("DEL k");
        let [one, other] = waiters;
        let guard = tokio::select! {
            guard = one => guard.unwrap().unwrap(),
            guard = other => guard.unwrap().unwrap(),
        };
        guard.release().await.unwrap();
        // The queue would have granted it in the same step as the release.
        free += usize::from(server.command("EXISTS k") == ":0\r\n");
        server.command("DEL k");
        server.send(&["DEL", QUEUE]);
    }
    assert!(free >= 3, "free after {free} of 10 releases");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_handed_over_all_the_time_is_free_for_others_now_and_then() {
    let server = Server::start();
    let mut workers = Vec::new();
    for fairness in [Fairness::Turns, Fairness::Fifo, Fairness::Turns] {
        for _ in 0..3 {
            let locks = server.client().await;
            workers.push(tokio::spawn(async move {
                loop {
                    let acquire = locks.lock("k").wait_forever().fairness(fairness);
                    let guard = acquire.acquire().await.unwrap();
                    tokio::time::sleep(ms(2)).await;
                    // Another library may have taken the key with force, which no case does.
                    guard.release().await.unwrap();
                }
            }));
        }
    }
    // A library that polls never finds the key free between two of our holders.
    soon(async {
        while server.command("SET k theirs NX PX 60000") != "+OK\r\n" {
            tokio::time::sleep(ms(5)).await;
        }
    })
    .await;
    assert!(workers.iter().all(|worker| !worker.is_finished()));
    server.command("DEL k");
    workers.iter().for_each(JoinHandle::abort);
}

fn claim(ttl: Duration) -> lock_core::backend::Claim {
    let (key, owner) = (lock_core::LockKey::new("k").unwrap(), lock_core::OwnerToken::mint());
    lock_core::backend::Claim::new(key, owner.unwrap(), lock_core::backend::Ttl::new(ttl).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_a_request_that_a_foreign_release_has_sent_takes_nothing_after_its_owners_release() {
    use lock_core::backend::{Attempt, Release};
    let server = Server::start();
    let provider = server.provider().await;
    let lock = provider.lock(claim(ms(60_000)));
    server.command("SET k somebody PX 60000");
    let queue = lock.as_queue().unwrap();
    let _subscription = queue.subscribe().await.unwrap();
    let refused = queue.try_acquire_or_enqueue().await.unwrap();
    assert!(matches!(refused, Attempt::Held(busy) if busy.contested && busy.foreign));
    server.command("DEL k");
    until(|| is_ours(&server)).await;
    assert!(matches!(lock.try_acquire().await.unwrap(), Attempt::Granted(_)));
    assert_ne!(lock.release().await.unwrap(), Release::NotHeld);
    // A late copy of the request would do the same.
    assert_eq!(lock.try_acquire().await.unwrap(), Attempt::Undone);
    assert_eq!(server.command("EXISTS k"), ":0\r\n");
}

/// Whether an owner of ours holds the key.
fn is_ours(server: &Server) -> bool {
    server.command("GET k").contains('\u{1f}')
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bp5_a_dead_head_of_the_queue_is_passed_over_when_a_break_is_due() {
    let server = Server::start();
    let (holding, waiting) = (server.client().await, server.client().await);
    let holder = holding.lock("k").ttl(ms(60_000)).acquire().await.unwrap();
    let gone = format!("{}q{}60000:nobody", "A".repeat(22), "0".repeat(16));
    server.send(&["ZADD", QUEUE, "1", &gone]);
    let live = patient(&waiting, "k");
    until_queued(&server, 2).await;
    // The key was passed on for longer than two seconds without a break.
    let token = holder.fencing_token().unwrap();
    server.send(&["SET", "k\u{1f}fence{k}", &format!("{token}*,1000000000000"), "KEEPTTL"]);
    let freed = Instant::now();
    holder.release().await.unwrap();
    soon(live).await.unwrap().unwrap().release().await.unwrap();
    assert!(freed.elapsed() < ms(1_500), "idle for {:?}", freed.elapsed());
}

#[tokio::test]
async fn f1_a_fence_that_was_deleted_is_restored_while_somebody_waits() {
    let server = Server::start();
    let (holding, waiting) = (server.client().await, server.client().await);
    let guard = holding.lock("k").ttl(ms(60_000)).acquire().await.unwrap();
    server.send(&["DEL", "k\u{1f}fence{k}"]);
    let waiter = patient(&waiting, "k");
    until_queued(&server, 1).await;
    guard.renew_to(ms(60_000)).await.unwrap();
    let token = guard.fencing_token();
    guard.release().await.unwrap();
    let next = soon(waiter).await.unwrap().unwrap();
    assert!(next.fencing_token() > token);
    next.release().await.unwrap();
}
