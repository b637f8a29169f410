//! The same command to five servers at once: whatever three of them say is the answer, and the others are
//! heard behind. Once with `SET NX PX` and the script that compares and deletes, once with our scripts.

use std::future::Future;
use std::time::Duration;

use anyhow::{Result, bail};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};

use super::same_script::{ACQUIRE, Keys, RELEASE};
use super::{COMPARE_AND_DELETE, millis, token};
use crate::contender::{Contender, Role};

pub(crate) struct Parallel {
    connections: Vec<MultiplexedConnection>,
    ttl: u64,
}

pub(crate) struct Guard {
    key: String,
    token: String,
}

impl Contender for Parallel {
    const NAME: &str = "floor: parallel";
    const ROLE: Role = Role::Floor;
    const PLAYS: &[&str] = &["q1", "q2", "q3"];
    type Guard = Guard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        Ok(Self { connections: connect(url).await?, ttl: millis(ttl) })
    }

    async fn acquire(&self, key: &str) -> Result<Guard> {
        let token = token();
        let mut set = redis::cmd("SET");
        set.arg(key).arg(&token).arg("NX").arg("PX").arg(self.ttl);
        let taken = majority(&self.connections, |mut connection| {
            let set = set.clone();
            async move { Ok(set.query_async::<Option<()>>(&mut connection).await?.is_some()) }
        });
        if !taken.await {
            bail!("no majority for `{key}`");
        }
        Ok(Guard { key: key.to_owned(), token })
    }

    async fn release(&self, guard: Guard) -> Result<bool> {
        let freed = majority(&self.connections, |mut connection| {
            let mut call = COMPARE_AND_DELETE.key(&guard.key);
            call.arg(&guard.token);
            async move { call.invoke_async(&mut connection).await }
        });
        Ok(freed.await)
    }
}

/// Our scripts.
pub(crate) struct ParallelScripts {
    connections: Vec<MultiplexedConnection>,
    ttl: u64,
}

pub(crate) struct ScriptsGuard {
    keys: Keys,
    token: String,
}

impl Contender for ParallelScripts {
    const NAME: &str = "floor: parallel, same scripts";
    const ROLE: Role = Role::Floor;
    const PLAYS: &[&str] = &["q1", "q2", "q3"];
    type Guard = ScriptsGuard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        Ok(Self { connections: connect(url).await?, ttl: millis(ttl) })
    }

    async fn acquire(&self, key: &str) -> Result<ScriptsGuard> {
        let token = token();
        let keys = Keys::new(key, &token);
        let taken = majority(&self.connections, |mut connection| {
            let mut call = keys.call(&ACQUIRE);
            call.arg(&token).arg(self.ttl);
            async move { Ok(matches!(call.invoke_async(&mut connection).await?, Value::BulkString(_))) }
        });
        if !taken.await {
            bail!("no majority for `{key}`");
        }
        Ok(ScriptsGuard { keys, token })
    }

    async fn release(&self, guard: ScriptsGuard) -> Result<bool> {
        let freed = majority(&self.connections, |mut connection| {
            let mut call = guard.keys.call(&RELEASE);
            call.arg(&guard.token);
            async move { call.invoke_async(&mut connection).await }
        });
        Ok(freed.await)
    }
}

async fn connect(urls: &str) -> Result<Vec<MultiplexedConnection>> {
    let mut connections = Vec::new();
    for url in urls.split(',') {
        connections.push(redis::Client::open(url)?.get_multiplexed_async_connection().await?);
    }
    Ok(connections)
}

/// Asks all at once, and returns whether a majority has agreed as soon as that is known.
async fn majority<F>(
    connections: &[MultiplexedConnection],
    ask: impl Fn(MultiplexedConnection) -> F,
) -> bool
where
    F: Future<Output = RedisResult<bool>> + Send + 'static,
{
    let needed = connections.len() / 2 + 1;
    let mut answers: FuturesUnordered<_> = connections.iter().cloned().map(ask).collect();
    let (mut yes, mut no) = (0, 0);
    while yes < needed && no < needed {
        match answers.next().await {
            Some(Ok(true)) => yes += 1,
            Some(_) => no += 1,
            None => break,
        }
    }
    if !answers.is_empty() {
        tokio::spawn(async move { while answers.next().await.is_some() {} });
    }
    yes >= needed
}
