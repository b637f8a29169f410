//! `SET NX PX`, and a script that compares and deletes: the lock of the Redis documentation.

use std::time::Duration;

use anyhow::{Result, bail};
use redis::aio::MultiplexedConnection;

use super::{COMPARE_AND_DELETE, millis, token};
use crate::contender::{Contender, Role};

pub(crate) struct Raw {
    connection: MultiplexedConnection,
    ttl: u64,
}

pub(crate) struct Guard {
    key: String,
    token: String,
}

impl Contender for Raw {
    const NAME: &str = "raw";
    const ROLE: Role = Role::Floor;
    const PLAYS: &[&str] = &["s1", "s2"];
    type Guard = Guard;

    async fn connect(url: &str, ttl: Duration) -> Result<Self> {
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        Ok(Self { connection, ttl: millis(ttl) })
    }

    async fn acquire(&self, key: &str) -> Result<Guard> {
        let token = token();
        let mut set = redis::cmd("SET");
        set.arg(key).arg(&token).arg("NX").arg("PX").arg(self.ttl);
        match set.query_async(&mut self.connection.clone()).await? {
            Some(()) => Ok(Guard { key: key.to_owned(), token }),
            None => bail!("`{key}` is held, and this floor does not wait"),
        }
    }

    async fn release(&self, guard: Guard) -> Result<bool> {
        let mut call = COMPARE_AND_DELETE.key(&guard.key);
        Ok(call.arg(&guard.token).invoke_async(&mut self.connection.clone()).await?)
    }
}
