//! A queue in the store: a release makes the next waiter the owner, and notifies its process. Each
//! acquisition takes two commands, no matter how many wait.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use redis::Script;
use redis::aio::MultiplexedConnection;
use tokio::sync::oneshot;

use super::subscription::subscribe;
use super::{millis, token};
use crate::contender::{Contender, Role};

/// KEYS lock, queue; ARGV ticket, ttl in ms. Returns 1 if granted, 0 if queued.
static ACQUIRE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end \
         redis.call('RPUSH', KEYS[2], ARGV[1]) \
         return 0",
    )
});

/// KEYS lock, queue; ARGV ticket, ttl in ms. A ticket is `<process>:<waiter>`; each process has a
/// channel.
static RELEASE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end \
         local head = redis.call('LPOP', KEYS[2]) \
         if head then \
           redis.call('SET', KEYS[1], head, 'PX', ARGV[2]) \
           redis.call('PUBLISH', string.match(head, '^[^:]+'), head) \
         else \
           redis.call('DEL', KEYS[1]) \
         end \
         return 1",
    )
});

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<()>>>>;

pub(crate) struct StoreQueue {
    connection: MultiplexedConnection,
    _subscription: MultiplexedConnection,
    process: String,
    waiting: Waiting,
    ttl: u64,
}

pub(crate) struct Guard {
    key: String,
    ticket: String,
}

impl Contender for StoreQueue {
    const NAME: &str = "floor: store queue";
    const ROLE: Role = Role::Floor;
    const PLAYS: &[&str] = &["s3", "s3a", "s3b", "s5"];
    type Guard = Guard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        let (process, waiting) = (token(), Waiting::default());
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        let tickets = Arc::clone(&waiting);
        let called = move |ticket: String| {
            let waiter = tickets.lock().unwrap_or_else(PoisonError::into_inner).remove(&ticket);
            waiter.map(|waiter| waiter.send(()));
        };
        let _subscription = subscribe(url, &process, called).await?;
        Ok(Self { connection, _subscription, process, waiting, ttl: millis(ttl) })
    }

    async fn acquire(&self, key: &str) -> Result<Guard> {
        let ticket = format!("{}:{}", self.process, token());
        let (sender, called) = oneshot::channel();
        let waiting = || self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting().insert(ticket.clone(), sender);
        let mut call = ACQUIRE.prepare_invoke();
        call.key(key).key(queue(key)).arg(&ticket).arg(self.ttl);
        if call.invoke_async(&mut self.connection.clone()).await? {
            waiting().remove(&ticket);
        } else {
            called.await?;
        }
        Ok(Guard { key: key.to_owned(), ticket })
    }

    async fn release(&self, guard: Guard) -> Result<bool> {
        let mut call = RELEASE.prepare_invoke();
        call.key(&guard.key).key(queue(&guard.key)).arg(&guard.ticket).arg(self.ttl);
        Ok(call.invoke_async(&mut self.connection.clone()).await?)
    }
}

fn queue(key: &str) -> String {
    format!("{key}:queue")
}
