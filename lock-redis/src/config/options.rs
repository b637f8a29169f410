//! How locks are kept on a server, however it is connected to.

use std::time::Duration;

#[cfg(doc)]
use lock_core::ErrorKind;
use lock_core::Result;
use lock_core::backend::Ttl;

use super::timeouts::Timeouts;
use crate::error::misconfigured;

/// How locks are kept on a server, however it is connected to.
#[derive(Clone, Debug)]
#[must_use = "options do nothing until they are passed on"]
pub struct RedisOptions {
    pub(crate) prefix: String,
    pub(crate) server_checks: bool,
    pub(crate) connect_timeout: Duration,
    pub(crate) replicas: Option<Replicas>,
    /// `None` stands for a default, which is longer at the nodes of a quorum.
    fencing_ttl: Option<Duration>,
}

/// For how long a key's last fencing token is kept after its lease, unless configured. Tokens start
/// from the server's clock, so they stay in order while that is set back by less.
const FENCING_TTL: Duration = Duration::from_secs(60 * 60);

/// The same at the nodes of a quorum, whose tokens rest on no clock as long as nodes remember.
const FENCING_TTL_OF_A_NODE: Duration = Duration::from_secs(24 * 60 * 60);

/// How many replicas must know of a grant, and how long they have.
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
    /// Makes the defaults: no prefix, server checks on, two seconds to connect.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts this before every key, byte for byte.
    ///
    /// Two prefixes keep their locks apart unless one begins with the other: `a:` and `a:b:` can name the
    /// same key. Nothing is escaped, as other libraries could then not share a key.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Turns off the checks of the server (version, role, eviction policy): for a server whose `INFO`
    /// is denied, or an operator who knows better. Measured: with the policy `volatile-ttl`, no held
    /// lock survived memory pressure.
    ///
    /// A server is checked at the start and whenever a connection to it is opened, as it may have been
    /// replaced or configured anew; a cluster is checked at the start only. An address that leads to a
    /// replica is [`Misconfigured`](ErrorKind::Misconfigured) at the start. If it does so later, it is
    /// [`Unavailable`](ErrorKind::Unavailable), as the replica may be promoted or replaced.
    pub fn server_checks(mut self, on: bool) -> Self {
        self.server_checks = on;
        self
    }

    /// Sets how long opening a connection may take.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Sets for how long the last fencing token of a key is kept after its lease; one hour unless
    /// configured, from a minute to a year.
    ///
    /// Tokens stay in order when the server's clock is set back by less than this, also for a key that
    /// nobody used meanwhile. A key that is used once takes about 150 bytes for as long. The nodes
    /// of a quorum keep tokens for a day or longer.
    pub fn fencing_ttl(mut self, time: Duration) -> Self {
        self.fencing_ttl = Some(time);
        self
    }

    /// Believes a grant or a renewal only once so many replicas have it; [`Unavailable`] if they have
    /// not within `limit`.
    ///
    /// Each is followed by a `WAIT`, on a connection for grants or one for renewals, where it blocks all
    /// that come after it: this costs a round trip to the replicas, and concurrency.
    ///
    /// **It makes losing a lock in a failover rarer, and does not rule it out**: nothing makes the
    /// replica the new master that has the grant, and one that restarts without its data has
    /// forgotten it. With all replicas wanted, none may be down. See the [documentation of
    /// `WAIT`](https://redis.io/docs/latest/commands/wait/).
    ///
    /// [`Unavailable`]: ErrorKind::Unavailable
    pub fn replicas(mut self, count: u32, limit: Duration) -> Self {
        self.replicas = Some(Replicas { count, limit });
        self
    }

    /// Returns for how long a key's last fencing token is kept after its lease.
    pub(crate) fn token_retention(&self) -> Duration {
        self.fencing_ttl.unwrap_or(FENCING_TTL)
    }

    /// As [`token_retention`](Self::token_retention), for a node of a quorum.
    pub(crate) fn token_retention_of_a_node(&self) -> Result<Duration> {
        let time = self.fencing_ttl.unwrap_or(FENCING_TTL_OF_A_NODE);
        if time < FENCING_TTL_OF_A_NODE {
            return misconfigured(format!(
                "`fencing_ttl` is {time:?}; the nodes of a quorum need {FENCING_TTL_OF_A_NODE:?} or \
                 more, as the order of their tokens rests on what they remember"
            ));
        }
        Ok(time)
    }

    /// Returns how long the driver waits.
    pub(crate) fn timeouts(&self) -> Timeouts {
        Timeouts { connect: self.connect_timeout, ..Timeouts::default() }
    }

    /// Refuses numbers that mean nothing.
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
        // WAIT takes zero for no limit at all.
        if limit < Duration::from_millis(1) || limit > longest {
            return misconfigured(format!(
                "replicas have {limit:?} for a grant; give them 1ms to {longest:?}"
            ));
        }
        Ok(())
    }

    /// Refuses to wait for replicas where nobody does.
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
