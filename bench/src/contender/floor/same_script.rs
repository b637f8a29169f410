//! Our scripts without our client: the same work for the server, and a minimal client.
//!
//! Everything in this package that depends on their arguments and answers is in this file.

use std::sync::LazyLock;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use redis::aio::MultiplexedConnection;
use redis::{Script, ScriptInvocation, Value};

use super::{millis, token};
use crate::contender::{Contender, Role};

macro_rules! script {
    ($($file:literal),*) => {
        LazyLock::new(|| {
            let parts = [
                CONSTANTS,
                $(include_str!(concat!("../../../../lock-redis/src/verbs/scripts/", $file))),*
            ];
            Script::new(&parts.join("\n"))
        })
    };
}

pub(super) static ACQUIRE: LazyLock<Script> =
    script!("fence.lua", "mark.lua", "queue.lua", "acquire.lua");
pub(super) static RELEASE: LazyLock<Script> = script!("fence.lua", "queue.lua", "release.lua");

/// The times in ms that the scripts name. Those of the queue are missing, because nobody queues.
const CONSTANTS: &str = "local FENCE_OUTLIVES, TOMBSTONE = 86400000, 60000";

pub(crate) struct SameScript {
    connection: MultiplexedConnection,
    ttl: u64,
}

pub(crate) struct Guard {
    keys: Keys,
    token: String,
    fencing: u64,
}

/// The keys of every script, in the order of `KEYS`.
pub(super) struct Keys {
    lock: String,
    fence: String,
    tombstone: String,
    queue: String,
}

impl Keys {
    pub(super) fn new(lock: &str, token: &str) -> Self {
        let sibling = |name: &str| format!("{lock}\u{1f}{name}{{{lock}}}");
        Self {
            lock: lock.to_owned(),
            fence: sibling("fence"),
            tombstone: sibling(&format!("undone\u{1f}{token}")),
            queue: sibling("queue"),
        }
    }

    /// Begins a call of a script with these keys.
    pub(super) fn call<'a>(&self, script: &'a Script) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.key(&self.lock).key(&self.fence).key(&self.tombstone).key(&self.queue);
        call
    }
}

impl Contender for SameScript {
    const NAME: &str = "raw, same script";
    const ROLE: Role = Role::Floor;
    const PLAYS: &[&str] = &["s1", "s2"];
    type Guard = Guard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        Ok(Self { connection, ttl: millis(ttl) })
    }

    async fn acquire(&self, key: &str) -> Result<Guard> {
        let token = token();
        let keys = Keys::new(key, &token);
        let mut call = keys.call(&ACQUIRE);
        call.arg(&token).arg(self.ttl);
        let answer: Value = call.invoke_async(&mut self.connection.clone()).await?;
        let fencing = granted(&answer).with_context(|| format!("acquiring: {answer:?}"))?;
        Ok(Guard { keys, token, fencing })
    }

    async fn release(&self, guard: Guard) -> Result<bool> {
        let mut call = guard.keys.call(&RELEASE);
        call.arg(&guard.token);
        match call.invoke_async(&mut self.connection.clone()).await? {
            Value::Int(1) => Ok(true),
            Value::Int(0) => Ok(false),
            answer => bail!("releasing: {answer:?}"),
        }
    }

    fn fencing(guard: &Guard) -> Option<u64> {
        Some(guard.fencing)
    }
}

/// Returns the fencing token, or `None` if another owner holds the key.
fn granted(answer: &Value) -> Option<u64> {
    match answer {
        Value::BulkString(token) => std::str::from_utf8(token).ok()?.parse().ok(),
        _ => None,
    }
}
