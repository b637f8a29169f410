//! The connections to the server, and which of them carries what.

use std::fmt;
use std::time::Duration;

use lock_core::Result;
#[cfg(feature = "deadpool")]
use lock_core::{Effect, Error, ErrorKind};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ScriptInvocation, Value};
#[cfg(feature = "deadpool")]
use {deadpool_redis::Pool, redis::aio::MultiplexedConnection};

use crate::error::translate;

/// Which commands may queue behind each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Acquisitions and questions: there may be many, and they can wait.
    Acquire,
    /// Renewals and releases: a flood of acquisitions must not cost a held lock.
    Hold,
}

/// One connection for each [`Lane`].
pub(crate) struct Links {
    acquire: Link,
    hold: Link,
}

enum Link {
    /// One multiplexed connection that reconnects by itself.
    Managed(ConnectionManager),
    /// A connection out of the application's pool for every command.
    #[cfg(feature = "deadpool")]
    Pool(Pool),
    /// One multiplexed connection taken out of the pool for good, and replaced when it breaks.
    #[cfg(feature = "deadpool")]
    Reserved { pool: Pool, connection: tokio::sync::Mutex<Option<MultiplexedConnection>> },
}

impl Links {
    /// Opens two connections that reconnect by themselves.
    pub(crate) async fn open(client: &Client, timeouts: Timeouts) -> Result<Self> {
        let (acquire, hold) = tokio::try_join!(
            ConnectionManager::new_with_config(client.clone(), timeouts.into()),
            ConnectionManager::new_with_config(client.clone(), timeouts.into()),
        )
        .map_err(translate)?;
        Ok(Self { acquire: Link::Managed(acquire), hold: Link::Managed(hold) })
    }

    /// Uses the application's pool, less one connection that is reserved for held locks.
    #[cfg(feature = "deadpool")]
    pub(crate) fn of_pool(pool: Pool) -> Self {
        let connection = tokio::sync::Mutex::default();
        Self { acquire: Link::Pool(pool.clone()), hold: Link::Reserved { pool, connection } }
    }

    /// Runs a script; loads it first where the server does not know it.
    pub(crate) async fn invoke(&self, lane: Lane, call: &ScriptInvocation<'_>) -> Result<Value> {
        let link = match lane {
            Lane::Acquire => &self.acquire,
            Lane::Hold => &self.hold,
        };
        match link {
            Link::Managed(connection) => {
                call.invoke_async(&mut connection.clone()).await.map_err(translate)
            }
            #[cfg(feature = "deadpool")]
            Link::Pool(pool) => {
                let mut connection = take(pool).await?;
                call.invoke_async(&mut *connection).await.map_err(translate)
            }
            #[cfg(feature = "deadpool")]
            Link::Reserved { pool, connection } => {
                let mut open = reserved(pool, connection).await?;
                let answer = call.invoke_async(&mut open).await;
                if answer.as_ref().is_err_and(|e: &redis::RedisError| e.is_io_error()) {
                    *connection.lock().await = None;
                }
                answer.map_err(translate)
            }
        }
    }

    /// Runs one plain command, for the checks at the start.
    pub(crate) async fn info(&self) -> Result<redis::InfoDict> {
        let command = redis::cmd("INFO");
        match &self.acquire {
            Link::Managed(connection) => command.query_async(&mut connection.clone()).await,
            #[cfg(feature = "deadpool")]
            Link::Pool(pool) | Link::Reserved { pool, .. } => {
                command.query_async(&mut *take(pool).await?).await
            }
        }
        .map_err(translate)
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.acquire {
            Link::Managed(_) => "multiplexed",
            #[cfg(feature = "deadpool")]
            Link::Pool(_) | Link::Reserved { .. } => "pooled",
        })
    }
}

#[cfg(feature = "deadpool")]
async fn take(pool: &Pool) -> Result<deadpool_redis::Connection> {
    pool.get().await.map_err(|source| match source {
        deadpool_redis::PoolError::Backend(error) => {
            translate(error).with_effect(Effect::NotApplied)
        }
        other => Error::new(ErrorKind::Unavailable, "the connection pool gave no connection")
            .with_effect(Effect::NotApplied)
            .with_source(other),
    })
}

#[cfg(feature = "deadpool")]
async fn reserved(
    pool: &Pool,
    connection: &tokio::sync::Mutex<Option<MultiplexedConnection>>,
) -> Result<MultiplexedConnection> {
    let mut slot = connection.lock().await;
    match &*slot {
        Some(open) => Ok(open.clone()),
        None => {
            let open = deadpool_redis::Connection::take(take(pool).await?);
            Ok(slot.insert(open).clone())
        }
    }
}

/// How long the driver waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) response: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(2), response: Duration::from_secs(5) }
    }
}

impl From<Timeouts> for ConnectionManagerConfig {
    /// Core does the retrying, so a lost connection is reported at once and opened again by the
    /// next command.
    fn from(timeouts: Timeouts) -> Self {
        Self::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(timeouts.connect))
            .set_response_timeout(Some(timeouts.response))
    }
}
