//! A message at each release: one waiter per process receives it and tries again. The others queue
//! behind it within the process.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, PoisonError};
use std::time::Duration;

use anyhow::Result;
use redis::Script;
use redis::aio::MultiplexedConnection;
use tokio::sync::{Mutex, Notify, OwnedMutexGuard};

use super::subscription::subscribe;
use super::{millis, token};
use crate::contender::{Contender, Role};

const CHANNEL: &str = "released";

/// KEYS lock; ARGV token, channel.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
         redis.call('DEL', KEYS[1]) \
         redis.call('PUBLISH', ARGV[2], KEYS[1]) \
         return 1",
    )
});

pub(crate) struct Publish {
    connection: MultiplexedConnection,
    _subscription: MultiplexedConnection,
    released: Arc<Notify>,
    /// One fair queue per key.
    queues: std::sync::Mutex<HashMap<String, Arc<Mutex<()>>>>,
    ttl: u64,
}

pub(crate) struct Guard {
    key: String,
    token: String,
    _turn: OwnedMutexGuard<()>,
}

impl Contender for Publish {
    const NAME: &str = "floor: publish";
    const ROLE: Role = Role::Floor;
    const PLAYS: &[&str] = &["s3", "s3a", "s3b", "s5"];
    type Guard = Guard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        let released = Arc::new(Notify::new());
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        let notify = Arc::clone(&released);
        let _subscription = subscribe(url, CHANNEL, move |_key| notify.notify_waiters()).await?;
        let queues = std::sync::Mutex::default();
        Ok(Self { connection, _subscription, released, queues, ttl: millis(ttl) })
    }

    async fn acquire(&self, key: &str) -> Result<Guard> {
        let queue = {
            let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(queues.entry(key.to_owned()).or_default())
        };
        let _turn = queue.lock_owned().await;
        let token = token();
        let mut set = redis::cmd("SET");
        set.arg(key).arg(&token).arg("NX").arg("PX").arg(self.ttl);
        loop {
            // Before the attempt, so that no release is missed.
            let released = self.released.notified();
            if set.query_async::<Option<()>>(&mut self.connection.clone()).await?.is_some() {
                return Ok(Guard { key: key.to_owned(), token, _turn });
            }
            released.await;
        }
    }

    async fn release(&self, guard: Guard) -> Result<bool> {
        let mut call = RELEASE.key(&guard.key);
        call.arg(&guard.token).arg(CHANNEL);
        Ok(call.invoke_async(&mut self.connection.clone()).await?)
    }
}
