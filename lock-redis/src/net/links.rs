//! The connections to the server, and which one carries a command.

use std::fmt;
use std::sync::Arc;

#[cfg(feature = "deadpool")]
use deadpool_redis::Pool;
use lock_core::backend::Effect;
use lock_core::{Error, ErrorKind, Result};
use redis::Value;
use redis::aio::MultiplexedConnection;
#[cfg(feature = "cluster")]
use redis::cluster::ClusterClient;

use super::call::Call;
use super::checks::ServerChecks;
#[cfg(feature = "cluster")]
use super::checks::check_server;
#[cfg(feature = "cluster")]
use super::cluster::{Nodes, infos};
use super::connection::{Connection, Settings};
use super::endpoint::Endpoint;
use super::listener::Hook;
use crate::config::options::Replicas;
use crate::config::timeouts::Timeouts;
#[cfg(feature = "deadpool")]
use crate::error::translate;

/// What a command is for, which decides the connection that carries it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Acquisitions and queries. There may be many, and they can wait.
    Acquire,
    /// Renewals, which must not wait behind acquisitions.
    Hold,
    /// Releases. They share the acquisitions' connection unless it is busy, because this takes 17 %
    /// fewer packets. Otherwise they share that of the renewals. So an undo may overtake its
    /// acquisition, which its tombstone then refuses.
    Release,
}

/// The connections to the server. There are two, so that no flood of acquisitions delays a renewal.
pub(crate) struct Links {
    acquire: Transport,
    hold: Transport,
    /// The connections for grants and renewals, if replicas must have these.
    backed: Option<Backed>,
}

/// Connections on which a wait for replicas follows every command. The wait blocks later commands,
/// so nothing else is sent there, and renewals have a connection of their own.
struct Backed {
    acquire: Connection,
    hold: Connection,
    replicas: Replicas,
}

/// What carries a request.
enum Transport {
    /// One multiplexed connection.
    Connection(Box<Connection>),
    /// One connection of the application's pool per command.
    #[cfg(feature = "deadpool")]
    Pool(Pool),
    /// One connection to each node.
    #[cfg(feature = "cluster")]
    Cluster(Nodes),
}

impl Transport {
    async fn connect(&self) -> Result<()> {
        match self {
            Self::Connection(connection) => connection.connect().await,
            #[cfg(feature = "deadpool")]
            Self::Pool(_) => Ok(()),
            #[cfg(feature = "cluster")]
            Self::Cluster(_) => Ok(()),
        }
    }

    /// Whether a request that is sent now is likely to be answered soon.
    fn is_prompt(&self) -> bool {
        matches!(self, Self::Connection(connection) if connection.is_prompt())
    }

    async fn invoke(&self, mut call: Call<'_>) -> Result<Value> {
        match self {
            Self::Connection(connection) => {
                let request = async |opened: &mut MultiplexedConnection, process: Option<&str>| {
                    call.bind(process);
                    call.run(opened).await
                };
                connection.run(request).await
            }
            #[cfg(feature = "deadpool")]
            Self::Pool(pool) => {
                // Boxed, so that not every request has the size of opening a connection.
                let mut connection = Box::pin(take(pool)).await?;
                call.run(&mut *connection).await.map_err(translate)
            }
            #[cfg(feature = "cluster")]
            Self::Cluster(nodes) => nodes.run(&call).await,
        }
    }
}

impl Links {
    /// Prepares the connections; each is checked when it is opened.
    pub(crate) fn closed(
        endpoint: Endpoint,
        timeouts: Timeouts,
        checks: Option<ServerChecks>,
        replaced: Option<Hook>,
        replicas: Option<Replicas>,
    ) -> Self {
        let checks = checks.map(Arc::new);
        let connection = || {
            let (endpoint, checks, replaced) = (endpoint.clone(), checks.clone(), replaced.clone());
            Connection::closed(Settings { endpoint, timeouts, checks, replaced, listener: None })
        };
        let transport = || Transport::Connection(Box::new(connection()));
        let backed =
            replicas.map(|replicas| Backed { acquire: connection(), hold: connection(), replicas });
        Self { acquire: transport(), hold: transport(), backed }
    }

    /// Opens the connections that are not open.
    pub(crate) async fn connect(&self) -> Result<()> {
        let backed = async {
            match &self.backed {
                Some(Backed { acquire, hold, .. }) => {
                    tokio::try_join!(acquire.connect(), hold.connect()).map(drop)
                }
                None => Ok(()),
            }
        };
        tokio::try_join!(self.acquire.connect(), self.hold.connect(), backed).map(drop)
    }

    /// Whether the driver may send a request twice. In a cluster, it repeats requests that were not
    /// answered.
    pub(crate) fn may_resend(&self) -> bool {
        #[cfg(feature = "cluster")]
        return matches!(self.acquire, Transport::Cluster(_));
        #[cfg(not(feature = "cluster"))]
        false
    }

    /// Connects twice to every node of a cluster, and checks the masters if `server_checks` is on.
    #[cfg(feature = "cluster")]
    pub(crate) async fn of_cluster(
        client: &ClusterClient,
        replaced: &Hook,
        server_checks: bool,
    ) -> Result<Self> {
        let (acquire, hold) = tokio::try_join!(
            Nodes::connect(client, replaced, None),
            Nodes::connect(client, replaced, None)
        )?;
        if server_checks {
            infos(&hold).await?.iter().try_for_each(check_server)?;
        }
        let (acquire, hold) = (Transport::Cluster(acquire), Transport::Cluster(hold));
        Ok(Self { acquire, hold, backed: None })
    }

    /// Uses the application's pool, and one more connection for held locks, which is checked
    /// whenever it is opened.
    #[cfg(feature = "deadpool")]
    pub(crate) async fn of_pool(pool: Pool, checks: Option<ServerChecks>) -> Result<Self> {
        let (endpoint, timeouts) = (Endpoint::Pool(pool.clone()), Timeouts::default());
        let checks = checks.map(Arc::new);
        let settings = Settings { endpoint, timeouts, checks, replaced: None, listener: None };
        let hold = Transport::Connection(Box::new(Connection::closed(settings)));
        hold.connect().await?;
        Ok(Self { acquire: Transport::Pool(pool), hold, backed: None })
    }

    /// Runs a script.
    pub(crate) async fn invoke(&self, purpose: Purpose, call: Call<'_>) -> Result<Value> {
        let transport = match purpose {
            Purpose::Acquire => &self.acquire,
            Purpose::Release if self.acquire.is_prompt() => &self.acquire,
            Purpose::Hold | Purpose::Release => &self.hold,
        };
        transport.invoke(call).await
    }

    /// Runs a script that may grant or renew. Returns its answer, and the error to report if it did
    /// and too few replicas have that.
    pub(crate) async fn grant(
        &self,
        purpose: Purpose,
        call: Call<'_>,
    ) -> Result<(Value, Result<()>)> {
        let Some(Backed { acquire, hold, replicas }) = &self.backed else {
            return self.invoke(purpose, call).await.map(|answer| (answer, Ok(())));
        };
        let connection = if purpose == Purpose::Acquire { acquire } else { hold };
        let Replicas { count, limit } = *replicas;
        let request = async |opened: &mut MultiplexedConnection, _: Option<&str>| {
            call.run_and_wait(opened, count, limit).await
        };
        // It is not known which of the two commands failed.
        let answered = connection.run(request).await;
        let (answer, knowing) = answered.map_err(|error| error.with_effect(Effect::Unknown))?;
        let enough = if knowing >= count {
            Ok(())
        } else {
            let message =
                format!("{knowing} replicas have the grant after {limit:?}; {count} are required");
            Err(Error::new(ErrorKind::Unavailable, message).with_effect(Effect::Unknown))
        };
        Ok((answer, enough))
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.acquire {
            Transport::Connection(_) => "multiplexed",
            #[cfg(feature = "deadpool")]
            Transport::Pool(_) => "pooled",
            #[cfg(feature = "cluster")]
            Transport::Cluster(_) => "of a cluster",
        })
    }
}

#[cfg(feature = "deadpool")]
async fn take(pool: &Pool) -> Result<deadpool_redis::Connection> {
    pool.get().await.map_err(|source| match source {
        deadpool_redis::PoolError::Backend(error) => {
            translate(error).with_effect(Effect::NotApplied)
        }
        other => {
            Error::new(ErrorKind::Unavailable, "the connection pool did not provide a connection")
                .with_effect(Effect::NotApplied)
                .with_source(other)
        }
    })
}
