//! The connections to the server, and which of them carries what.

use std::fmt;
use std::sync::Arc;

use lock_core::Result;
#[cfg(feature = "deadpool")]
use lock_core::{Effect, Error, ErrorKind};
use redis::{InfoDict, Value};

use crate::channel::{Channel, Source, Timeouts};
use crate::checks::Vetting;
use crate::keys::Prefix;
use crate::news::Newsroom;
use crate::origin::Origin;
use crate::scripts::Call;
#[cfg(feature = "deadpool")]
use {crate::error::translate, deadpool_redis::Pool};

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
    hold: Channel,
    /// Opened by the first waiter; not with a pool, whose connections cannot be told to listen.
    news: Option<Newsroom>,
}

enum Link {
    /// One multiplexed connection.
    Channel(Box<Channel>),
    /// A connection out of the application's pool for every command.
    #[cfg(feature = "deadpool")]
    Pool(Pool),
}

impl Links {
    /// Prepares the connections; each is vetted when it is opened.
    pub(crate) fn closed(
        origin: Origin,
        timeouts: Timeouts,
        prefix: &Prefix,
        vetting: Option<Vetting>,
    ) -> Result<Self> {
        let vetting = vetting.map(Arc::new);
        let source = || {
            let (origin, vetting) = (origin.clone(), vetting.clone());
            Channel::closed(Source::Client { origin, timeouts, vetting })
        };
        let (acquire, hold) = (Link::Channel(Box::new(source())), source());
        let news = Some(Newsroom::new(origin, timeouts, prefix)?);
        Ok(Self { acquire, hold, news })
    }

    /// Makes sure that there are connections.
    pub(crate) async fn connect(&self) -> Result<()> {
        match &self.acquire {
            Link::Channel(acquire) => {
                tokio::try_join!(acquire.connect(), self.hold.connect()).map(drop)
            }
            #[cfg(feature = "deadpool")]
            Link::Pool(_) => self.hold.connect().await,
        }
    }

    pub(crate) fn news(&self) -> Option<&Newsroom> {
        self.news.as_ref()
    }

    /// Uses the application's pool, and one connection beside it for held locks.
    #[cfg(feature = "deadpool")]
    pub(crate) async fn of_pool(pool: Pool) -> Result<Self> {
        let hold = Channel::closed(Source::Pool(pool.clone()));
        hold.connect().await?;
        Ok(Self { acquire: Link::Pool(pool), hold, news: None })
    }

    /// Runs a script.
    pub(crate) async fn invoke(&self, lane: Lane, call: &Call) -> Result<Value> {
        let channel = match (lane, &self.acquire) {
            (Lane::Acquire, Link::Channel(acquire)) => acquire,
            (Lane::Release, Link::Channel(acquire)) if acquire.is_at_ease() => acquire,
            #[cfg(feature = "deadpool")]
            (Lane::Acquire, Link::Pool(pool)) => {
                // Boxed, or every request would carry the room that opening a connection takes.
                let mut connection = Box::pin(take(pool)).await?;
                return call.run(&mut *connection).await.map_err(translate);
            }
            (Lane::Hold | Lane::Release, _) => &self.hold,
        };
        channel.run(async |connection| call.run(connection).await).await
    }

    /// Asks the server about itself, for the checks at the start.
    pub(crate) async fn info(&self) -> Result<InfoDict> {
        self.hold.run(async |connection| redis::cmd("INFO").query_async(connection).await).await
    }
}

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.acquire {
            Link::Channel(_) => "multiplexed",
            #[cfg(feature = "deadpool")]
            Link::Pool(_) => "pooled",
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
