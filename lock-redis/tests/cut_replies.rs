//! Replies that are cut: the effect of the command is unknown, and no key stays locked.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, Instant};

use lock_core::{Error, LockClient, LockGuard};
use lock_redis::{RedisConfig, RedisOptions, RedisProvider};
use support::Server;
use support::cutting_proxy::{CuttingProxy, Fate};
use support::sentinel::until;

/// How soon a key must be free, and how long it would stay locked otherwise.
const SOON: Duration = Duration::from_secs(10);
const TTL: Duration = Duration::from_secs(60);
/// A connection that has owed an answer for this long is not used for releases.
const PROMPT: Duration = Duration::from_millis(60);

/// A server, a client behind the proxy, and what went wrong.
struct Trial {
    server: Server,
    proxy: CuttingProxy,
    locks: LockClient,
    /// Whether the server has forgotten the scripts. Then its first reply reports that, and the
    /// command had no effect.
    forgets: bool,
    /// How many replies in a row are cut.
    times: usize,
    /// By how many bytes the position of the cut grows.
    step: usize,
    tried: usize,
    /// The keys that have stayed locked.
    locked: Vec<String>,
    /// The errors of another kind than `Unavailable`.
    misled: Vec<String>,
}

impl Trial {
    fn new(server: Server, provider: RedisProvider, proxy: CuttingProxy) -> Self {
        let locks = LockClient::builder(provider).request_timeout(Duration::from_secs(1));
        let (locks, locked, misled) = (locks.build().unwrap(), Vec::new(), Vec::new());
        let (forgets, times, step, tried) = (false, 1, 1, 0);
        Self { server, proxy, locks, forgets, times, step, tried, locked, misled }
    }

    /// Uses all connections and scripts, so that the next request finds them.
    async fn mend(&self) {
        self.proxy.end_withheld();
        let guard = self.guard("mended").await;
        while guard.renew_to(TTL).await.is_err() {}
        support::released(guard).await;
    }

    async fn guard(&self, key: &str) -> LockGuard {
        self.locks.lock(key).ttl(TTL).acquire().await.unwrap()
    }

    /// Cuts the replies to all kinds of requests, and the replies on new connections.
    async fn run(mut self) {
        for forgets in [false, true] {
            self.forgets = forgets;
            // A refusal is longer than other replies.
            self.step *= if forgets { 5 } else { 1 };
            self.cut_everywhere("acquire", async |trial, key, fates| {
                trial.cut_replies(fates);
                trial.locks.lock(key).ttl(TTL).try_acquire().await.map(drop)
            })
            .await;
            self.cut_everywhere("renew", async |trial, key, fates| {
                let guard = trial.guard(key).await;
                trial.cut_replies(fates);
                guard.renew_to(TTL).await
            })
            .await;
            self.cut_everywhere("drop an acquisition", async |trial, key, fates| {
                let acquiring = trial.locks.lock(key).ttl(TTL).acquire();
                trial.proxy.cut_replies([Fate::Withheld]);
                let acquiring = tokio::spawn(acquiring);
                trial.proxy.until_left(0);
                until(|| trial.server.send(&["EXISTS", key]) == ":1\r\n");
                // Now the release goes over the other connection.
                tokio::time::sleep(PROMPT).await;
                trial.cut_replies(fates);
                acquiring.abort();
                Ok(())
            })
            .await;
            self.cut_everywhere("drop a guard", async |trial, key, fates| {
                let guard = trial.guard(key).await;
                trial.cut_replies(fates);
                drop(guard);
                Ok(())
            })
            .await;
            self.cut_everywhere("release", async |trial, key, fates| {
                let guard = trial.guard(key).await;
                trial.cut_replies(fates);
                guard.release().await
            })
            .await;
        }
        self.cut_greetings().await;
        let (tried, locked, misled) = (self.tried, self.locked.len(), self.misled.len());
        assert!(self.locked.is_empty(), "{locked} of {tried} stayed locked: {:#?}", self.locked);
        assert!(self.misled.is_empty(), "{misled} of {tried} misled: {:#?}", self.misled);
    }

    fn cut_replies(&self, fates: Vec<Fate>) {
        if self.forgets {
            self.server.command("SCRIPT FLUSH SYNC");
        }
        self.proxy.cut_replies(fates);
    }

    /// Cuts a reply at each position, or at every few.
    async fn cut_everywhere(
        &mut self,
        what: &str,
        request: impl AsyncFn(&Self, &str, Vec<Fate>) -> Result<(), Error>,
    ) {
        let what = if self.forgets { format!("{what}, refused") } else { what.to_owned() };
        // The first reply is not cut, to find its length.
        self.mend().await;
        request(self, &what, vec![]).await.unwrap();
        let whole = self.proxy.whole();
        assert!((4..100).contains(&whole), "a reply of {whole} bytes");
        for length in (0..=whole).step_by(self.step) {
            let key = format!("{what}, {length} of {whole} bytes");
            self.mend().await;
            let answer = request(self, &key, vec![Fate::Cut(length); self.times]).await;
            self.look_at(key, answer).await;
        }
    }

    /// Cuts the first replies on a new connection, before a release can go over it.
    async fn cut_greetings(&mut self) {
        for length in (0..200).step_by(9) {
            let key = format!("{length} bytes of a greeting");
            self.mend().await;
            let guard = self.guard(&key).await;
            self.proxy.cut_connections(vec![Fate::Cut(length); self.times]);
            self.server.command("CLIENT KILL TYPE normal");
            drop(guard);
            self.look_at(key, Ok(())).await;
        }
    }

    async fn look_at(&mut self, key: String, answer: Result<(), Error>) {
        self.proxy.until_left(self.times - 1);
        self.tried += 1;
        if let Err(error) = answer
            && !error.is_unavailable()
        {
            self.misled.push(format!("{key}: {error}"));
        }
        if !self.is_free_soon(&key).await {
            let left = self.server.send(&["PTTL", &key]);
            self.locked.push(format!("{key}: {} ms left", left.trim().trim_start_matches(':')));
        }
        self.proxy.cut_replies([]);
        self.proxy.cut_connections([]);
    }

    async fn is_free_soon(&self, key: &str) -> bool {
        // Once the test has failed, it need not take long.
        let patience = if self.locked.is_empty() { SOON } else { SOON / 10 };
        let give_up = Instant::now() + patience;
        while self.server.send(&["EXISTS", key]) != ":0\r\n" {
            if Instant::now() > give_up {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        true
    }
}
fn config(port: u16) -> RedisConfig {
    RedisConfig::tcp("127.0.0.1", port)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_a_reply_that_is_cut_anywhere_leaves_no_key_locked() {
    let server = Server::start();
    let (proxy, port) = CuttingProxy::before(&server).await;
    let provider = RedisProvider::connect(config(port)).await.unwrap();
    Trial::new(server, provider, proxy).run().await;
}

#[cfg(feature = "deadpool")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_a_reply_that_is_cut_anywhere_leaves_no_key_locked_with_a_pool() {
    let server = Server::start();
    let (proxy, port) = CuttingProxy::before(&server).await;
    let pool = deadpool_redis::Config::from_url(format!("redis://127.0.0.1:{port}"));
    let pool = pool.builder().unwrap().max_size(1).build().unwrap();
    let provider = RedisProvider::with_pool(pool, RedisOptions::new()).await.unwrap();
    Trial::new(server, provider, proxy).run().await;
}

#[cfg(feature = "deadpool")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_of_a_pool_whose_reply_was_cut_is_not_used_again() {
    let server = Server::start();
    let (proxy, port) = CuttingProxy::before(&server).await;
    let pool = deadpool_redis::Config::from_url(format!("redis://127.0.0.1:{port}"));
    let pool = pool.builder().unwrap().max_size(1).build().unwrap();
    let provider = RedisProvider::with_pool(pool, RedisOptions::new()).await.unwrap();
    let locks = LockClient::new(provider);
    for length in 0..5 {
        locks.lock("k").acquire().await.unwrap().release().await.unwrap();
        proxy.cut_replies([Fate::Cut(length)]);
        let error = locks.lock("cut").try_acquire().await.unwrap_err();
        assert!(error.is_unavailable(), "{error}");
        let next = locks.lock(format!("next {length}")).try_acquire().await;
        drop(next.expect("free"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_a_reply_that_is_cut_anywhere_leaves_no_key_locked_with_replicas() {
    let server = Server::with(&["--repl-diskless-sync-delay", "0"]);
    let _replica = Server::with(&["--replicaof", "127.0.0.1", &server.port.to_string()]);
    until(|| server.command("INFO replication").contains("state=online"));
    let (proxy, port) = CuttingProxy::before(&server).await;
    let config = config(port).replicas(1, Duration::from_millis(500));
    let provider = RedisProvider::connect(config).await.unwrap();
    Trial::new(server, provider, proxy).run().await;
}

/// The driver repeats a request whose reply is cut, up to some number of times.
#[cfg(feature = "cluster")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn u1_replies_that_are_cut_anywhere_leave_no_key_locked_in_a_cluster() {
    let server = Server::with(&["--cluster-enabled", "yes"]);
    let (proxy, port) = CuttingProxy::before(&server).await;
    let announced = port.to_string();
    for words in [
        &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"][..],
        &["CONFIG", "SET", "cluster-announce-ip", "127.0.0.1"],
        &["CONFIG", "SET", "cluster-announce-port", &announced],
    ] {
        support::cluster::ok(&server, words);
    }
    until(|| server.command("CLUSTER INFO").contains("cluster_state:ok"));
    let provider =
        RedisProvider::connect(RedisConfig::cluster([("127.0.0.1", port)])).await.unwrap();
    let mut trial = Trial::new(server, provider, proxy);
    (trial.times, trial.step) = (20, 4);
    trial.run().await;
}
