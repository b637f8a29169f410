//! The options that apply to every set-up.

use std::time::Duration;

#[cfg(doc)]
use lock_core::ErrorKind;
use lock_core::Result;
use lock_core::backend::Ttl;

use super::timeouts::Timeouts;
use crate::error::misconfigured;

/// Configures how locks are kept on a server, however it is connected to.
///
/// [`RedisConfig`](crate::RedisConfig) has the same methods. Use these options with your own client
/// or pool.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
///
/// use lock_redis::{RedisOptions, RedisProvider, redis};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let client = redis::Client::open("redis://db-1")?;
/// let options = RedisOptions::new().prefix("app:").connect_timeout(Duration::from_millis(500));
/// let provider = RedisProvider::with_client(&client, options).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are passed on"]
pub struct RedisOptions {
    pub(crate) prefix: String,
    pub(crate) server_checks: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) replicas: Option<Replicas>,
    /// `None` means the default, which is longer for the nodes of a quorum.
    fencing_ttl: Option<Duration>,
}

/// How long a key's last fencing token is kept after its lease, unless configured. Tokens are times
/// of the server's clock, so they keep growing if the clock is set back by less than this.
const FENCING_TTL: Duration = Duration::from_secs(60 * 60);

/// The same for the nodes of a quorum. Their tokens depend on no clock while the nodes remember
/// them.
const FENCING_TTL_OF_A_NODE: Duration = Duration::from_secs(24 * 60 * 60);

/// How many replicas must confirm a grant, and within which time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replicas {
    pub(crate) count: u32,
    pub(crate) limit: Duration,
}

impl Default for RedisOptions {
    fn default() -> Self {
        let connect_timeout = Timeouts::default().connect;
        let (prefix, replicas, fencing_ttl) = Default::default();
        Self { prefix, server_checks: true, connect_timeout, replicas, fencing_ttl }
    }
}

impl RedisOptions {
    /// Returns the defaults: no prefix, server checks on, two seconds to connect.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisOptions;
    /// let options = RedisOptions::new();
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a prefix before every key, byte for byte; none by default.
    ///
    /// Choose prefixes of which none begins with another: `a:` and `a:b:` can name the same key.
    /// Nothing is escaped, so that other libraries can lock the same key.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisOptions;
    /// // The lock `invoice/42` is at the key `app:invoice/42`.
    /// let options = RedisOptions::new().prefix("app:");
    /// ```
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Turns the checks of the server's version, role and eviction policy on or off; they are on by
    /// default.
    ///
    /// **Without the checks, a server that evicts keys is accepted.** Under memory pressure, such a
    /// server deletes held locks. Turn the checks off only if the user may not run `INFO`, or if
    /// you have checked the server yourself.
    ///
    /// A server is checked whenever a connection to it is opened, because it may have been replaced
    /// or configured anew. A cluster is checked only at the start.
    ///
    /// | the address leads to a replica | error |
    /// |---|---|
    /// | at the start | [`Misconfigured`](ErrorKind::Misconfigured) |
    /// | later | [`Unavailable`](ErrorKind::Unavailable), because the replica may be promoted or replaced |
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_redis::RedisOptions;
    /// // The version, role and eviction policy of the server were checked by hand.
    /// let options = RedisOptions::new().server_checks(false);
    /// ```
    pub fn server_checks(mut self, on: bool) -> Self {
        self.server_checks = on;
        self
    }

    /// Sets how long opening a connection may take; two seconds by default.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lock_redis::RedisOptions;
    /// let options = RedisOptions::new().connect_timeout(Duration::from_millis(500));
    /// ```
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets how long the last fencing token of a key is kept after its lease, from a minute to a
    /// year; one hour by default.
    ///
    /// Tokens keep growing if the server's clock is set back by less than this, even for a key that
    /// nobody uses meanwhile. The token of each key takes about 150 bytes until then. The nodes of
    /// a quorum keep tokens for at least 24 hours, which is their default.
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lock_redis::RedisOptions;
    /// let options = RedisOptions::new().fencing_ttl(Duration::from_secs(24 * 60 * 60));
    /// ```
    pub fn fencing_ttl(mut self, time: Duration) -> Self {
        self.fencing_ttl = Some(time);
        self
    }

    /// Trusts a grant or a renewal only once `count` replicas have it. If they do not have it
    /// within `limit`, the request fails with [`Unavailable`](ErrorKind::Unavailable). By default,
    /// no replica is waited for.
    ///
    /// **A failover can still lose a lock.** A replica without the grant may become the new master,
    /// and a replica that restarts without its data has forgotten the grant. Send the fencing token
    /// with every write.
    ///
    /// A `WAIT` follows each grant and each renewal, and blocks what comes after it on its
    /// connection. This costs a round trip to the replicas, and concurrency. If `count` is the
    /// number of replicas, none may be down. See the [documentation of
    /// `WAIT`](https://redis.io/docs/latest/commands/wait/).
    ///
    /// A cluster, a quorum and a pool do not support this: connecting reports
    /// [`Misconfigured`](ErrorKind::Misconfigured).
    ///
    /// # Examples
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use lock_redis::RedisOptions;
    /// let options = RedisOptions::new().replicas(1, Duration::from_millis(100));
    /// ```
    pub fn replicas(mut self, count: u32, limit: Duration) -> Self {
        self.replicas = Some(Replicas { count, limit });
        self
    }

    /// Returns how long a key's last fencing token is kept after its lease.
    pub(crate) fn token_retention(&self) -> Duration {
        self.fencing_ttl.unwrap_or(FENCING_TTL)
    }

    /// As [`token_retention`](Self::token_retention), for a node of a quorum.
    pub(crate) fn token_retention_of_a_node(&self) -> Result<Duration> {
        let time = self.fencing_ttl.unwrap_or(FENCING_TTL_OF_A_NODE);
        if time < FENCING_TTL_OF_A_NODE {
            return misconfigured(format!(
                "`fencing_ttl` is {time:?}; the nodes of a quorum need at least \
                 {FENCING_TTL_OF_A_NODE:?}, because their tokens grow only while they remember them"
            ));
        }
        Ok(time)
    }

    /// Returns the time limits of the driver.
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts { connect: self.connect_timeout, ..Timeouts::default() }
    }

    /// Refuses numbers that cannot work.
    pub(crate) fn check(&self) -> Result<()> {
        let longest = Ttl::MAX.as_duration();
        if let Some(time) = self.fencing_ttl
            && !(Duration::from_secs(60)..=longest).contains(&time)
        {
            return misconfigured(format!(
                "`fencing_ttl` is {time:?}; keep tokens for 60s to {longest:?}"
            ));
        }
        if self.connect_timeout.is_zero() {
            return misconfigured("`connect_timeout` is zero; give connections some time to open");
        }
        let Some(Replicas { count, limit }) = self.replicas else { return Ok(()) };
        let longest = Timeouts::default().response / 2;
        if count == 0 {
            return misconfigured("`replicas` is 0; leave it out to wait for none");
        }
        // To `WAIT`, zero means no limit at all.
        if limit < Duration::from_millis(1) || limit > longest {
            return misconfigured(format!(
                "the replicas have {limit:?} to confirm a grant; give them 1ms to {longest:?}"
            ));
        }
        Ok(())
    }

    /// Refuses to wait for replicas in a set-up that does not.
    pub(crate) fn refuse_replicas(&self, what: &str) -> Result<()> {
        match self.replicas {
            None => Ok(()),
            Some(_) => misconfigured(format!(
                "{what} does not wait for replicas; leave `replicas` out, or use one server or \
                 sentinels"
            )),
        }
    }
}
