//! The same command to five servers at once. The answer of three is the result; the other answers
//! are received in the background. One contender sends `SET NX PX` and the script that compares and
//! deletes, the other one our scripts.

use std::future::Future;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, InfoDict, RedisResult, Value};

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
    const PLAYS: &[&str] = &["v1", "v2", "v3"];
    type Guard = Guard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        Ok(Self { connections: connect(url).await?, ttl: millis(ttl) })
    }

    async fn acquire(&self, key: &str) -> Result<Guard> {
        let token = token();
        let mut set = redis::cmd("SET");
        set.arg(key).arg(&token).arg("NX").arg("PX").arg(self.ttl);
        let taken = majority(self.connections.iter().cloned().map(|mut connection| {
            let set = set.clone();
            async move { Ok(set.query_async::<Option<()>>(&mut connection).await?.is_some()) }
        }));
        if !taken.await {
            bail!("no majority for `{key}`");
        }
        Ok(Guard { key: key.to_owned(), token })
    }

    async fn release(&self, guard: Guard) -> Result<bool> {
        let freed = majority(self.connections.iter().cloned().map(|mut connection| {
            let mut call = COMPARE_AND_DELETE.key(&guard.key);
            call.arg(&guard.token);
            async move { call.invoke_async(&mut connection).await }
        }));
        Ok(freed.await)
    }
}

/// Our scripts, on nodes with the mark that they have kept their data.
pub(crate) struct ParallelScripts {
    nodes: Vec<Node>,
    ttl: u64,
}

struct Node {
    connection: MultiplexedConnection,
    process: String,
}

pub(crate) struct ScriptsGuard {
    keys: Keys,
    token: String,
}

/// The key of the mark, and for how many ms a node without it grants nothing.
const MARK: (&str, u64) = ("\u{1f}settled", 60_000);

impl Contender for ParallelScripts {
    const NAME: &str = "floor: parallel, same scripts";
    const ROLE: Role = Role::Floor;
    const PLAYS: &[&str] = &["v1", "v2", "v3"];
    type Guard = ScriptsGuard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        let mut nodes = Vec::new();
        for mut connection in connect(url).await? {
            let info: InfoDict = redis::cmd("INFO").query_async(&mut connection).await?;
            let process = info.get::<String>("run_id").context("`INFO` has no `run_id`")?;
            let () = connection.set(MARK.0, format!("{process} 0 0")).await?;
            nodes.push(Node { connection, process });
        }
        Ok(Self { nodes, ttl: millis(ttl) })
    }

    async fn acquire(&self, key: &str) -> Result<ScriptsGuard> {
        let token = token();
        let keys = Keys::new(key, &token);
        let taken =
            majority(self.nodes.iter().map(|node| {
                let mut call = keys.call(&ACQUIRE);
                call.key(MARK.0).arg(&token).arg(self.ttl).arg(0).arg(MARK.1).arg(&node.process);
                let mut connection = node.connection.clone();
                async move {
                    Ok(matches!(call.invoke_async(&mut connection).await?, Value::BulkString(_)))
                }
            }));
        if !taken.await {
            bail!("no majority for `{key}`");
        }
        Ok(ScriptsGuard { keys, token })
    }

    async fn release(&self, guard: ScriptsGuard) -> Result<bool> {
        let freed = majority(self.nodes.iter().map(|node| {
            let mut call = guard.keys.call(&RELEASE);
            call.arg(&guard.token);
            let mut connection = node.connection.clone();
            async move { call.invoke_async(&mut connection).await }
        }));
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

/// Sends all requests at once. Returns whether a majority agrees, as soon as this is known.
async fn majority<F>(asks: impl ExactSizeIterator<Item = F>) -> bool
where
    F: Future<Output = RedisResult<bool>> + Send + 'static,
{
    let needed = asks.len() / 2 + 1;
    let mut answers: FuturesUnordered<_> = asks.collect();
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
