//! The connections to the server, and which of them carries what.

use std::fmt;
use std::sync::Arc;

use lock_core::{Effect, Error, ErrorKind, Result};
use redis::Value;
use redis::aio::MultiplexedConnection;

use crate::config::options::Replicas;
use crate::config::timeouts::Timeouts;
#[cfg(feature = "deadpool")]
use crate::error::translate;
use crate::keys::Prefix;
use crate::net::call::Call;
use crate::net::checks::Vetting;
use crate::net::connection::{Channel, Source};
use crate::net::endpoint::Origin;
use crate::wait::news::Newsroom;
#[cfg(feature = "cluster")]
use crate::{
    net::checks::check_server,
    net::cluster::{self, Nodes, Shards},
    wait::news::News,
};
#[cfg(feature = "deadpool")]
use deadpool_redis::Pool;
#[cfg(feature = "cluster")]
use redis::cluster::ClusterClient;

/// Which commands may queue behind each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Acquisitions and questions: there may be many, and they can wait.
    Acquire,
    /// Renewals: a flood of acquisitions must not cost a held lock.
    Hold,
    /// Releases: with the acquisitions while those are few, for a client needs the fewest packets if
    /// all goes over one connection; past them otherwise.
    Release,
}

/// One way to the server for each [`Lane`].
pub(crate) struct Links {
    acquire: Link,
    hold: Link,
    /// Where grants must be known to replicas as well.
    backed: Option<Backed>,
    /// Opened by the first waiter; not with a pool, whose connections cannot be told to listen.
    news: Option<Newsroom>,
}

/// Connections on which every command is followed by a wait for replicas: it blocks all that come
/// after it, so nothing else is sent there, and renewals do not wait behind acquisitions.
struct Backed {
    acquire: Channel,
    hold: Channel,
    replicas: Replicas,
}

enum Link {
    /// One multiplexed connection.
    Channel(Box<Channel>),
    /// A connection out of the application's pool for every command.
    #[cfg(feature = "deadpool")]
    Pool(Pool),
    /// One to each node.
    #[cfg(feature = "cluster")]
    Cluster(Nodes),
}

impl Link {
    async fn connect(&self) -> Result<()> {
        match self {
            Self::Channel(channel) => channel.connect().await,
            #[cfg(feature = "deadpool")]
            Self::Pool(_) => Ok(()),
            #[cfg(feature = "cluster")]
            Self::Cluster(_) => Ok(()),
        }
    }

    /// Whether a request sent now would be answered soon, as far as one can tell.
    fn is_at_ease(&self) -> bool {
        matches!(self, Self::Channel(channel) if channel.is_at_ease())
    }

    async fn invoke(&self, mut call: Call<'_>) -> Result<Value> {
        match self {
            Self::Channel(channel) => {
                let request = async |connection: &mut MultiplexedConnection,
                                     process: Option<&str>| {
                    call.bind(process);
                    call.run(connection).await
                };
                channel.run(request).await
            }
            #[cfg(feature = "deadpool")]
            Self::Pool(pool) => {
                // Boxed, or every request would carry the room that opening a connection takes.
                let mut connection = Box::pin(take(pool)).await?;
                call.run(&mut *connection).await.map_err(translate)
            }
            #[cfg(feature = "cluster")]
            Self::Cluster(nodes) => nodes.run(&call).await,
        }
    }
}

impl Links {
    /// Prepares the connections; each is vetted when it is opened.
    pub(crate) fn closed(
        origin: Origin,
        timeouts: Timeouts,
        prefix: &Prefix,
        vetting: Option<Vetting>,
        replicas: Option<Replicas>,
    ) -> Result<Self> {
        let vetting = vetting.map(Arc::new);
        let news = Newsroom::new(origin.clone(), timeouts, prefix)?;
        let replaced = (!origin.is_fixed()).then(|| news.hanging_up());
        let source = || {
            let (origin, vetting, replaced) = (origin.clone(), vetting.clone(), replaced.clone());
            Channel::closed(Source::Client { origin, timeouts, vetting, replaced })
        };
        let (acquire, hold) =
            (Link::Channel(Box::new(source())), Link::Channel(Box::new(source())));
        let backed =
            replicas.map(|replicas| Backed { acquire: source(), hold: source(), replicas });
        Ok(Self { acquire, hold, backed, news: Some(news) })
    }

    /// Makes sure that there are connections.
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

    pub(crate) fn news(&self) -> Option<&Newsroom> {
        self.news.as_ref()
    }

    /// Whether the driver may send a request twice: in a cluster it repeats what a node has not
    /// answered.
    pub(crate) fn may_resend(&self) -> bool {
        #[cfg(feature = "cluster")]
        return matches!(self.acquire, Link::Cluster(_));
        #[cfg(not(feature = "cluster"))]
        false
    }

    /// Connects twice to every node of a cluster, and checks its masters if that is wanted.
    #[cfg(feature = "cluster")]
    pub(crate) async fn of_cluster(client: &ClusterClient, server_checks: bool) -> Result<Self> {
        let news = News::named(str::to_owned)?;
        let (acquire, hold) = tokio::try_join!(
            Nodes::connect(client, &news, false),
            Nodes::connect(client, &news, false)
        )?;
        if server_checks {
            cluster::infos(&hold).await?.iter().try_for_each(check_server)?;
        }
        let news = Some(Newsroom::of_a_cluster(news, Shards::of(client)));
        Ok(Self { acquire: Link::Cluster(acquire), hold: Link::Cluster(hold), backed: None, news })
    }

    /// Uses the application's pool, and one connection beside it for held locks, which is vetted
    /// whenever it is opened.
    #[cfg(feature = "deadpool")]
    pub(crate) async fn of_pool(pool: Pool, vetting: Option<Vetting>) -> Result<Self> {
        let source = Source::Pool { pool: pool.clone(), vetting: vetting.map(Arc::new) };
        let hold = Link::Channel(Box::new(Channel::closed(source)));
        hold.connect().await?;
        Ok(Self { acquire: Link::Pool(pool), hold, backed: None, news: None })
    }

    /// Runs a script.
    pub(crate) async fn invoke(&self, lane: Lane, call: Call<'_>) -> Result<Value> {
        let link = match lane {
            Lane::Acquire => &self.acquire,
            Lane::Release if self.acquire.is_at_ease() => &self.acquire,
            Lane::Hold | Lane::Release => &self.hold,
        };
        link.invoke(call).await
    }

    /// Runs a script that may grant something, and returns besides what to say if it has: an error
    /// where too few replicas have the grant.
    pub(crate) async fn grant(&self, lane: Lane, call: Call<'_>) -> Result<(Value, Result<()>)> {
        let Some(Backed { acquire, hold, replicas }) = &self.backed else {
            return self.invoke(lane, call).await.map(|answer| (answer, Ok(())));
        };
        let channel = if lane == Lane::Acquire { acquire } else { hold };
        let Replicas { count, limit } = *replicas;
        let request = async |connection: &mut MultiplexedConnection, _: Option<&str>| {
            call.run_and_wait(connection, count, limit).await
        };
        // Which of the two commands has failed is not told.
        let answered = channel.run(request).await;
        let (answer, knowing) = answered.map_err(|error| error.with_effect(Effect::Unknown))?;
        let enough = if knowing >= count {
            Ok(())
        } else {
            let message =
                format!("{knowing} replicas have the grant after {limit:?}; {count} are wanted");
            Err(Error::new(ErrorKind::Unavailable, message).with_effect(Effect::Applied))
        };
        Ok((answer, enough))
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.acquire {
            Link::Channel(_) => "multiplexed",
            #[cfg(feature = "deadpool")]
            Link::Pool(_) => "pooled",
            #[cfg(feature = "cluster")]
            Link::Cluster(_) => "of a cluster",
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
