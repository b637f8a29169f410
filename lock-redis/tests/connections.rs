//! Connections that are silent, closed, refused or delayed: the next request opens a new one,
//! and no lock suffers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lock_core::backend::{Attempt, Claim, Ttl};
use lock_core::{LockClient, LockKey, LockProvider, OwnerToken};
use lock_redis::{RedisConfig, RedisOptions, RedisProvider};
use support::Server;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_secs(30);

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A proxy between client and server that silences or delays connections.
#[derive(Clone, Default)]
struct Proxy {
    opened: Arc<AtomicU64>,
    /// Connections up to this number are silent: their bytes are dropped without an error.
    silent: Arc<AtomicU64>,
    /// Connections up to this number delay requests.
    slow: Arc<AtomicU64>,
    /// How many milliseconds a new connection takes.
    handshake: Arc<AtomicU64>,
}

impl Proxy {
    async fn to(server: &Server) -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, to, proxy) =
            (listener.local_addr().unwrap().port(), server.port, Self::default());
        let accepting = proxy.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = accepting.opened.fetch_add(1, Ordering::SeqCst) + 1;
                let Ok(server) = TcpStream::connect(("127.0.0.1", to)).await else { continue };
                let ((from, back), (replies, requests)) =
                    (client.into_split(), server.into_split());
                let proxy = accepting.clone();
                tokio::spawn(async move {
                    let handshake = proxy.handshake.load(Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(handshake)).await;
                    tokio::spawn(proxy.clone().pump(number, from, requests, true));
                    tokio::spawn(proxy.pump(number, replies, back, false));
                });
            }
        });
        (proxy, port)
    }

    async fn pump(
        self,
        number: u64,
        mut from: OwnedReadHalf,
        mut to: OwnedWriteHalf,
        requests: bool,
    ) -> io::Result<()> {
        let mut bytes = vec![0; 65536];
        loop {
            let count = from.read(&mut bytes).await?;
            if count == 0 {
                return Ok(());
            }
            if requests && number <= self.slow.load(Ordering::SeqCst) {
                tokio::time::sleep(s(4)).await;
            }
            if number > self.silent.load(Ordering::SeqCst) {
                to.write_all(&bytes[..count]).await?;
            }
        }
    }

    fn all_now(&self, what: &AtomicU64) {
        what.store(self.opened.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}

/// Tries until an acquisition succeeds; fails when that takes too long.
async fn recovers(locks: &LockClient) {
    let recovery = async {
        while let Err(error) = locks.lock("probe").no_wait().acquire().await.map(drop) {
            assert!(!error.is_contended() || error.remaining().is_some());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, recovery).await.expect("it recovers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r10_a_connection_that_has_gone_silent_is_replaced_and_no_lock_is_lost() {
    let server = Server::start();
    let (proxy, port) = Proxy::to(&server).await;
    let locks =
        LockClient::new(RedisProvider::connect(RedisConfig::tcp("127.0.0.1", port)).await.unwrap());
    let guard = locks.lock("held").ttl(s(15)).auto_renew().acquire().await.unwrap();
    proxy.all_now(&proxy.silent);
    recovers(&locks).await;
    let _ = guard.renew_to(s(15)).await;
    let later = guard.held_until().unwrap().after(s(1));
    while guard.held_until().unwrap() < later {
        assert!(guard.is_held(), "the renewals found no new connection");
        let _ = guard.renew_to(s(20)).await;
    }
    assert!(proxy.opened.load(Ordering::SeqCst) <= 6, "one connection per request was opened");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r25_a_client_recovers_from_a_full_server() {
    let server = Server::start();
    let locks = server.client().await;
    // The only connection that the full server has.
    let mut only = redis::Client::open(server.url()).unwrap().get_connection().unwrap();
    let mut say = |line: &str| {
        let mut words = line.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        let answer: Result<redis::Value, _> =
            command.arg(words.collect::<Vec<_>>()).query(&mut only);
        answer.unwrap();
    };
    say("CONFIG SET maxclients 1");
    say("CLIENT KILL TYPE normal SKIPME yes");
    for _ in 0..5 {
        let full = locks.lock("k").no_wait().acquire().await.unwrap_err();
        assert!(full.is_unavailable(), "{full}");
    }
    say("CONFIG SET maxclients 1000");
    recovers(&locks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r30_a_client_recovers_from_a_password_that_was_refused_for_a_while() {
    let server = Server::start();
    server.command("ACL SETUSER locks on >pw ~* +@all");
    let config = server.config().user("locks").password("pw");
    let locks = LockClient::new(RedisProvider::connect(config).await.unwrap());
    server.command("ACL DELUSER locks");
    let error = loop {
        match locks.lock("k").no_wait().acquire().await {
            Err(error) if error.is_denied() => break error,
            Err(error) => assert!(error.is_unavailable(), "{error:?}"),
            Ok(_) => panic!("a deleted user acquires"),
        }
    };
    assert!(error.to_string().contains("refused the user name or password"), "{error}");
    server.command("ACL SETUSER locks on >pw ~* +@all");
    recovers(&locks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r29_a_client_recovers_from_a_server_that_was_busy_while_reconnecting() {
    let server = Server::with(&["--busy-reply-threshold", "1"]);
    let locks = LockClient::new(RedisProvider::connect(server.config().database(3)).await.unwrap());
    server.command("CLIENT KILL TYPE normal");
    let client = redis::Client::open(server.url()).unwrap();
    let busy = std::thread::spawn(move || {
        let mut connection = client.get_connection().unwrap();
        let endless: Result<(), _> =
            redis::cmd("EVAL").arg("while true do end").arg(0).query(&mut connection);
        endless.unwrap_err()
    });
    while !server.command("GET warm").starts_with("-BUSY") {
        std::thread::yield_now();
    }
    for _ in 0..5 {
        assert!(locks.lock("k").no_wait().acquire().await.unwrap_err().is_unavailable());
    }
    while !server.command("SCRIPT KILL").starts_with("+OK") {}
    recovers(&locks).await;
    busy.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_that_the_server_closes_cost_no_request() {
    let server = Server::start();
    let locks = server.client().await;
    let guard = locks.lock("held").ttl(s(60)).acquire().await.unwrap();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    server.command("CLIENT KILL TYPE normal");
    // The driver notices, and ends one task per connection.
    let noticed = async {
        while tasks() > before - 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(LIMIT, noticed).await.expect("it notices");
    locks.lock("free").try_acquire().await.expect("free").forget();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r25_a_pool_that_is_used_up_from_the_start_costs_no_held_lock() {
    let server = Server::start();
    let config = deadpool_redis::Config::from_url(server.url());
    let pool = config.builder().unwrap().max_size(4).build().unwrap();
    let provider = RedisProvider::with_pool(pool.clone(), RedisOptions::new()).await.unwrap();
    let locks = LockClient::new(provider);
    let guard = locks.lock("k").ttl(s(3)).auto_renew().acquire().await.unwrap();
    let mut taken = Vec::new();
    for _ in 0..4 {
        taken.push(pool.get().await.unwrap());
    }
    let later = guard.held_until().unwrap().after(s(3));
    while guard.held_until().unwrap() < later {
        assert!(guard.is_held(), "a renewal waited for the pool");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // A provider can still be made from such a pool.
    let another = RedisProvider::with_pool(pool, RedisOptions::new());
    tokio::time::timeout(LIMIT, another).await.expect("it does not hang").unwrap();
    guard.release().await.unwrap();
}

/// Repeats a request until its error is not about a lost connection, and returns that error.
async fn refusal<T>(mut request: impl AsyncFnMut() -> lock_core::Result<T>) -> lock_core::Error {
    let refused = async {
        loop {
            match request().await {
                Err(error) if error.to_string().contains("connection") => {}
                Err(error) => break error,
                Ok(_) => panic!("the server is not checked"),
            }
        }
    };
    tokio::time::timeout(LIMIT, refused).await.expect("it is refused")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r27_a_server_that_may_lose_locks_is_refused_by_every_new_connection() {
    let server = Server::start();
    let config = deadpool_redis::Config::from_url(server.url());
    let pool = config.create_pool(None).unwrap();
    let pooled =
        LockClient::new(RedisProvider::with_pool(pool, RedisOptions::new()).await.unwrap());
    let guard = pooled.lock("held").acquire().await.unwrap();
    let locks = server.client().await;
    let config = server.config().server_checks(false);
    let unchecked = LockClient::new(RedisProvider::connect(config).await.unwrap());
    server.command("CONFIG SET maxmemory-policy volatile-ttl");
    server.command("CLIENT KILL TYPE normal");
    let acquiring = refusal(async || locks.lock("k").no_wait().acquire().await.map(drop)).await;
    let renewing = refusal(async || guard.renew_to(s(30)).await).await;
    for error in [acquiring, renewing] {
        assert!(error.is_misconfigured(), "{error}");
        assert!(error.to_string().contains("set it to `noeviction`"), "{error}");
    }
    let asked = server.calls("info");
    recovers(&unchecked).await;
    assert_eq!(server.calls("info"), asked + 1, "the test's own question");
    server.command("CONFIG SET maxmemory-policy noeviction");
    recovers(&locks).await;
    guard.renew_to(s(30)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r28_a_server_that_has_become_a_replica_is_unavailable_until_it_is_a_master() {
    let server = Server::start();
    let locks = LockClient::builder(server.provider().await).unavailable_after(LIMIT).build();
    let locks = locks.unwrap();
    let guard = locks.lock("k").ttl(s(60)).acquire().await.unwrap();
    // Without the check, it would grant a key that its master has granted.
    server.command("CONFIG SET replica-read-only no");
    server.command("REPLICAOF 127.0.0.1 1");
    server.command("CLIENT KILL TYPE normal");
    let error = refusal(async || locks.lock("other").no_wait().acquire().await.map(drop)).await;
    assert!(error.is_unavailable() && error.to_string().contains("no longer a master"), "{error}");
    drop(guard); // released in the background
    let waiting = locks.lock("k").wait_at_most(LIMIT).acquire();
    let waiter = tokio::spawn(async move { waiting.await.map(drop) });
    let error = refusal(async || locks.lock("other").no_wait().acquire().await.map(drop)).await;
    assert!(error.is_unavailable(), "{error}");
    server.command("REPLICAOF NO ONE");
    waiter.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_an_undo_that_could_leave_no_tombstone_reports_an_error() {
    let server = Server::start();
    let provider = server.provider().await;
    let lock = || {
        let owner = OwnerToken::mint().unwrap();
        provider.lock(Claim::new(LockKey::new("k").unwrap(), owner, Ttl::MAX))
    };
    let _ = lock().release().await.unwrap(); // loads the script
    let late = lock();
    server.command("CONFIG SET maxmemory 1");
    let error = late.release().await.unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    server.command("CONFIG SET maxmemory 0");
    let _ = late.release().await.unwrap();
    assert_eq!(late.try_acquire().await.unwrap(), Attempt::Undone);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fencing_counter_deleted_under_a_held_lock_costs_nothing() {
    let server = Server::start();
    let locks = server.client().await;
    let guard = locks.lock("k").ttl(s(30)).acquire().await.unwrap();
    assert_eq!(server.send(&["DEL", "k\u{1f}fence{k}"]), ":1\r\n");
    guard.renew_to(s(30)).await.unwrap();
    let token = guard.fencing_token();
    guard.release().await.unwrap();
    assert!(locks.lock("k").acquire().await.unwrap().fencing_token() > token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_a_delayed_renewal_does_not_lead_to_two_holders() {
    let server = Server::start();
    let (proxy, port) = Proxy::to(&server).await;
    let config = deadpool_redis::Config::from_url(format!("redis://127.0.0.1:{port}"));
    let pool = config.create_pool(None).unwrap();
    let provider = RedisProvider::with_pool(pool, RedisOptions::new()).await.unwrap();
    let locks = LockClient::new(provider);
    let guard = locks.lock("k").ttl(s(30)).acquire().await.unwrap();
    proxy.all_now(&proxy.slow);
    // The short renewal takes four seconds; the long one goes over a new connection.
    assert!(guard.renew_to(s(8)).await.is_err());
    while guard.is_held() && guard.renew_to(s(60)).await.is_err() {}
    let others = server.client().await;
    let ends = async {
        loop {
            let other = others.lock("k").try_acquire().await;
            if other.map_err(|error| assert!(error.is_contended(), "{error}")).is_ok() {
                assert!(!guard.is_held(), "two holders");
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LIMIT, ends).await.expect("the short renewal has landed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_connection_is_replaced_however_short_requests_are() {
    let server = Server::start();
    let (proxy, port) = Proxy::to(&server).await;
    let provider = RedisProvider::connect(RedisConfig::tcp("127.0.0.1", port)).await.unwrap();
    let short = Duration::from_millis(300);
    let locks = LockClient::builder(provider).request_timeout(short).build().unwrap();
    proxy.all_now(&proxy.silent);
    recovers(&locks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_takes_long_to_open_is_opened_under_steady_load() {
    let server = Server::start();
    let (proxy, port) = Proxy::to(&server).await;
    let provider = RedisProvider::connect(RedisConfig::tcp("127.0.0.1", port)).await.unwrap();
    let locks = LockClient::new(provider);
    proxy.silent.store(u64::MAX, Ordering::SeqCst);
    let failures = Arc::new(AtomicU64::new(0));
    let load = tokio::spawn({
        let (locks, failures) = (locks.clone(), Arc::clone(&failures));
        async move {
            for n in 0.. {
                let attempt = locks.lock(format!("load-{n}")).no_wait().acquire();
                let failures = Arc::clone(&failures);
                tokio::spawn(async move {
                    failures.fetch_add(u64::from(attempt.await.is_err()), Ordering::SeqCst)
                });
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    });
    let outage = async {
        while failures.load(Ordering::SeqCst) < 40 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, outage).await.expect("requests fail");
    proxy.handshake.store(200, Ordering::SeqCst);
    proxy.all_now(&proxy.silent);
    recovers(&locks).await;
    load.abort();
}
