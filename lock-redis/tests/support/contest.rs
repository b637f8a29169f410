//! Clients that contend for one key while its servers fail.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_core::{FencingToken, LockClient};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Server;

/// Contenders for the key `k`, and the fencing tokens that they were granted.
pub(crate) struct Contest {
    contenders: JoinSet<()>,
    grants: Vec<Arc<AtomicUsize>>,
    tokens: Arc<Mutex<Vec<FencingToken>>>,
    over: CancellationToken,
    limit: Duration,
}

impl Contest {
    /// Begins a contest, of which no step may take longer than `limit`.
    pub(crate) fn new(limit: Duration) -> Self {
        let (contenders, grants, tokens, over) = Default::default();
        Self { contenders, grants, tokens, over, limit }
    }

    /// Adds a client that acquires, holds for a moment and releases, again and again.
    pub(crate) fn enter(&mut self, locks: LockClient) {
        let count = Arc::new(AtomicUsize::new(0));
        self.grants.push(Arc::clone(&count));
        let (tokens, over) = (Arc::clone(&self.tokens), self.over.clone());
        self.contenders.spawn(async move {
            while !over.is_cancelled() {
                let attempt = locks.lock("k").ttl(Duration::from_secs(2)).wait_forever();
                let guard = match attempt.cancelled_by(over.clone()).acquire().await {
                    Ok(guard) => guard,
                    Err(error) if error.is_cancelled() => return,
                    Err(error) => panic!("{error:#}"),
                };
                tokens.lock().unwrap().push(guard.fencing_token().expect("fencing"));
                count.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                let _ = guard.release().await; // or its lease ends
            }
        });
    }

    /// Waits until every contender has been granted the key this often, from now on.
    pub(crate) async fn until_all_held(&mut self, times: usize) {
        let counts = || self.grants.iter().map(|count| count.load(Ordering::SeqCst));
        let wanted: Vec<_> = counts().map(|count| count + times).collect();
        let all = async {
            while counts().zip(&wanted).any(|(count, wanted)| count < *wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(self.limit, all).await.expect("all are served");
    }

    /// Cuts all connections to these servers again and again while the contest goes on.
    pub(crate) async fn cut_off(&mut self, servers: &[Server], rounds: usize) {
        for round in 0..rounds {
            for server in servers {
                server.command("CLIENT KILL TYPE normal");
                if round % 2 == 0 {
                    server.command("CLIENT KILL TYPE pubsub");
                }
            }
            self.until_all_held(1).await;
        }
    }

    /// Ends the contest, and checks that each token was larger than all before it.
    pub(crate) async fn end(mut self) {
        self.over.cancel();
        while let Some(ended) = self.contenders.join_next().await {
            ended.unwrap();
        }
        let tokens = self.tokens.lock().unwrap().clone();
        let all: BTreeSet<_> = tokens.iter().copied().collect();
        assert_eq!(all.len(), tokens.len(), "a token was given twice");
        assert!(tokens.is_sorted(), "a token has fallen: {tokens:?}");
    }
}
