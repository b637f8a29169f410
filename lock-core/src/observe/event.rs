//! Events: what happened, to which lock, of which client.

use std::sync::Arc;
use std::time::Duration;

use tracing::Level;

use super::request::RequestOutcome;
use crate::backend::{Mode, Release, Verb};
use crate::clock::Moment;
use crate::error::{Effort, Error, ErrorKind};
use crate::loss::Loss;
use crate::value::{FencingToken, LockKey, OwnerFingerprint};

/// An event of a lock.
///
/// Events contain no owner token. Use [`client`](Event::client), [`provider`](Event::provider) and
/// the names of kinds and outcomes as labels of metrics. Use the key in logs only, because there may
/// be very many keys.
///
/// # Examples
///
/// ```
/// use lock_core::observe::Event;
///
/// fn line(event: &Event) -> String {
///     format!("lock_{}{{provider=\"{}\"}} 1", event.kind().name(), event.provider())
/// }
///
/// fn log(event: &Event) {
///     println!("{}: {:?}", event.key(), event.kind());
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Event {
    source: Arc<Source>,
    at: Moment,
    key: LockKey,
    identity: Option<Identity>,
    kind: EventKind,
}

/// The client that reports an event.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) provider: Arc<str>,
    pub(crate) client: Option<Arc<str>>,
}

/// Identifies the events of one acquisition and of the hold that follows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) id: u64,
    pub(crate) owner: OwnerFingerprint,
    pub(crate) mode: Mode,
}

impl Event {
    pub(crate) fn new(
        source: &Arc<Source>,
        at: Moment,
        key: &LockKey,
        identity: Option<Identity>,
        kind: EventKind,
    ) -> Self {
        Self { source: Arc::clone(source), at, key: key.clone(), identity, kind }
    }

    /// Returns the name of the provider.
    pub fn provider(&self) -> &str {
        &self.source.provider
    }

    /// Returns the name of the client, as in the configuration or as set with
    /// [`ClientBuilder::name`](crate::ClientBuilder::name).
    pub fn client(&self) -> Option<&str> {
        self.source.client.as_deref()
    }

    /// Returns the moment at which it happened, on the [client's clock](crate::LockClient::clock).
    pub fn at(&self) -> Moment {
        self.at
    }

    /// Returns the key of the lock.
    pub fn key(&self) -> &LockKey {
        &self.key
    }

    /// Returns a number that all events of one acquisition and of its hold have in common.
    ///
    /// The number is unique within the process. An acquisition keeps it even if it has to continue
    /// under another owner token. Returns `None` for events outside an acquisition, such as the
    /// request of an inspection.
    pub fn id(&self) -> Option<u64> {
        self.identity.map(|identity| identity.id)
    }

    /// Returns the fingerprint of the owner token, as the store shows it to those who inspect the
    /// key.
    pub fn owner(&self) -> Option<OwnerFingerprint> {
        self.identity.map(|identity| identity.owner)
    }

    /// Returns the mode of the claim.
    pub fn mode(&self) -> Option<Mode> {
        self.identity.map(|identity| identity.mode)
    }

    /// Returns what happened.
    pub fn kind(&self) -> &EventKind {
        &self.kind
    }

    /// Writes the event to the log.
    pub(super) fn trace(&self) {
        let (provider, key) = (self.provider(), &self.key);
        let owner = self.owner().map(tracing::field::display);
        match &self.kind {
            EventKind::AcquireStarted => tracing::trace!(provider, %key, owner, "acquiring"),
            EventKind::Waiting { remaining } => {
                tracing::debug!(provider, %key, ?remaining, "held by another owner, waiting");
            }
            EventKind::AcquireEnded { outcome, effort: Effort { attempts, waited } } => {
                let fencing = outcome.fencing().map(FencingToken::as_u64);
                let outcome = outcome.name();
                tracing::debug!(provider, %key, owner, outcome, fencing, attempts, ?waited,
                    "acquisition ended");
            }
            EventKind::HoldStarted { fencing, resumed } => {
                let fencing = fencing.map(FencingToken::as_u64);
                tracing::trace!(provider, %key, owner, fencing, resumed, "holding");
            }
            EventKind::Renewed { ttl } => tracing::trace!(provider, %key, ?ttl, "renewed"),
            EventKind::AtRisk { failures, cause } => {
                tracing::warn!(provider, %key, failures, %cause, "renewal failed, lock at risk");
            }
            EventKind::HoldEnded { outcome: HoldOutcome::Lost(loss), held } => {
                tracing::warn!(provider, %key, owner, %loss, ?held, "lost");
            }
            EventKind::HoldEnded { outcome, held } => {
                tracing::debug!(provider, %key, owner, outcome = outcome.name(), ?held, "hold ended");
            }
            EventKind::Released { answer } => {
                tracing::debug!(provider, %key, ?answer, "released");
            }
            EventKind::ReleaseFailed { cause } => {
                tracing::warn!(provider, %key, %cause, "release failed, the ttl will free the key");
            }
            EventKind::Undone => {
                tracing::debug!(provider, %key, "undid an acquisition without a known outcome");
            }
            EventKind::Request { verb, took, outcome } => {
                let (verb, outcome) = (verb.name(), outcome.name());
                tracing::trace!(provider, %key, owner, verb, ?took, outcome, "request");
            }
        }
    }
}

/// The kinds of event.
///
/// Every acquisition and every hold is reported as a start and an end, so that a gauge can count
/// them up and down. Every start has exactly one end:
///
/// ```text
///   AcquireStarted                                  (resume)
///         │  Waiting, at most once                     │
///         ▼                                            │
///   AcquireEnded ─── Acquired ──────▶ HoldStarted ◀────┘
///         │                               │  Renewed, AtRisk
///         │ NotAcquired, Dropped          ▼
///         ▼                           HoldEnded
///         ∎                               │ GivenBack; Lost, when its guard is released or dropped
///                                         ▼
///                                     Released or ReleaseFailed
/// ```
///
/// Three kinds are not part of the diagram:
///
/// | kind | when |
/// |---|---|
/// | [`Request`](Self::Request) | at any time |
/// | [`Undone`](Self::Undone), or [`ReleaseFailed`](Self::ReleaseFailed) instead of it | at any time after an attempt without an answer, also after the acquisition has ended |
///
/// An acquisition that is refused before its first request, for instance because its key is
/// invalid, reports nothing.
///
/// # Examples
///
/// ```
/// use lock_core::observe::EventKind;
///
/// /// How a gauge of held locks changes.
/// fn change(kind: &EventKind) -> i64 {
///     match kind {
///         EventKind::HoldStarted { .. } => 1,
///         EventKind::HoldEnded { .. } => -1,
///         _ => 0,
///     }
/// }
///
/// assert_eq!(change(&EventKind::Undone), 0);
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum EventKind {
    /// An acquisition begins. [`AcquireEnded`](Self::AcquireEnded) follows.
    AcquireStarted,
    /// An acquisition began to wait, because the key is held or because others wait for it.
    #[non_exhaustive]
    Waiting {
        /// How long the lease of the holder has left, if the store reports it.
        remaining: Option<Duration>,
    },
    /// An acquisition ended.
    #[non_exhaustive]
    AcquireEnded {
        /// How it ended.
        outcome: AcquireOutcome,
        /// How many attempts it made, and how long it took.
        effort: Effort,
    },
    /// A lock is held from now on. [`HoldEnded`](Self::HoldEnded) follows.
    #[non_exhaustive]
    HoldStarted {
        /// The fencing token of the grant.
        fencing: Option<FencingToken>,
        /// Whether the lock was resumed. If so, no acquisition precedes.
        resumed: bool,
    },
    /// A lease was renewed.
    #[non_exhaustive]
    Renewed {
        /// The ttl from the renewal on.
        ttl: Duration,
    },
    /// A renewal failed. The lock is still held, and renewing goes on (law G3).
    #[non_exhaustive]
    AtRisk {
        /// The number of renewals that have failed in a row.
        failures: u32,
        /// The error of the last renewal.
        cause: Error,
    },
    /// A lock is no longer held, as [`Lease::is_held`](crate::Lease::is_held) reports.
    ///
    /// The store may not know yet: [`Released`](Self::Released) has its answer.
    #[non_exhaustive]
    HoldEnded {
        /// How it ended.
        outcome: HoldOutcome,
        /// How long the lock was held, at most until its deadline.
        held: Duration,
    },
    /// The store has answered the release of a lock.
    #[non_exhaustive]
    Released {
        /// What it has answered.
        answer: Release,
    },
    /// The retries of a release in the background ended without success. The ttl frees the key.
    #[non_exhaustive]
    ReleaseFailed {
        /// The error of the last try.
        cause: Error,
    },
    /// An acquisition whose outcome was unknown has been undone (law U1).
    Undone,
    /// A request to the store has ended.
    #[non_exhaustive]
    Request {
        /// The verb.
        verb: Verb,
        /// The time from the request to its answer, failure or end.
        took: Duration,
        /// What the store has answered, or why it has not.
        outcome: RequestOutcome,
    },
}

impl EventKind {
    /// The level at which the event is logged.
    pub(crate) const fn level(&self) -> Level {
        match self {
            Self::AcquireStarted
            | Self::HoldStarted { .. }
            | Self::Renewed { .. }
            | Self::Request { .. } => Level::TRACE,
            Self::AtRisk { .. }
            | Self::ReleaseFailed { .. }
            | Self::HoldEnded { outcome: HoldOutcome::Lost(_), .. } => Level::WARN,
            Self::Waiting { .. }
            | Self::AcquireEnded { .. }
            | Self::HoldEnded { .. }
            | Self::Released { .. }
            | Self::Undone => Level::DEBUG,
        }
    }

    /// Returns the name of the kind, for the label of a metric.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::observe::EventKind;
    ///
    /// assert_eq!(EventKind::Undone.name(), "undone");
    /// ```
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AcquireStarted => "acquire_started",
            Self::Waiting { .. } => "waiting",
            Self::AcquireEnded { .. } => "acquire_ended",
            Self::HoldStarted { .. } => "hold_started",
            Self::Renewed { .. } => "renewed",
            Self::AtRisk { .. } => "at_risk",
            Self::HoldEnded { .. } => "hold_ended",
            Self::Released { .. } => "released",
            Self::ReleaseFailed { .. } => "release_failed",
            Self::Undone => "undone",
            Self::Request { .. } => "request",
        }
    }
}

/// How an acquisition ended.
///
/// # Examples
///
/// ```
/// use lock_core::ErrorKind;
/// use lock_core::observe::AcquireOutcome;
///
/// assert_eq!(AcquireOutcome::NotAcquired(ErrorKind::TimedOut).name(), "timed_out");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireOutcome {
    /// It was granted. A hold begins.
    #[non_exhaustive]
    Acquired {
        /// The number of the grant.
        fencing: Option<FencingToken>,
    },
    /// It failed with an error of this kind.
    NotAcquired(ErrorKind),
    /// Its future was dropped.
    Dropped,
}

impl AcquireOutcome {
    /// Returns the name of the outcome, for the label of a metric.
    ///
    /// It is `acquired`, `dropped`, or the [name of the error's kind](ErrorKind::name).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Acquired { .. } => "acquired",
            Self::NotAcquired(kind) => kind.name(),
            Self::Dropped => "dropped",
        }
    }

    fn fencing(self) -> Option<FencingToken> {
        match self {
            Self::Acquired { fencing } => fencing,
            Self::NotAcquired(_) | Self::Dropped => None,
        }
    }
}

/// How a hold ended.
///
/// # Examples
///
/// ```
/// use lock_core::loss::Loss;
/// use lock_core::observe::HoldOutcome;
///
/// assert_eq!(HoldOutcome::GivenBack.name(), "given_back");
/// assert_eq!(HoldOutcome::Lost(Loss::MaxHold).name(), "max_hold");
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum HoldOutcome {
    /// The holder has released the lock, or dropped its guard.
    ///
    /// The release may still find a loss that nobody has noticed. The answer of
    /// [`EventKind::Released`] is [`Release::NotHeld`] then.
    GivenBack,
    /// The lock was lost (law G2), perhaps without anybody noticing.
    Lost(Loss),
    /// The lock was [detached](crate::LockGuard::detach) for another process. The key stays locked.
    Detached,
    /// The lock was [left to its ttl](crate::LockGuard::forget). The key stays locked until then.
    Forgotten,
}

impl HoldOutcome {
    /// Returns the name of the outcome, for the label of a metric.
    ///
    /// It is `given_back`, `detached`, `forgotten`, or the [name of the loss](Loss::name).
    pub const fn name(&self) -> &'static str {
        match self {
            Self::GivenBack => "given_back",
            Self::Lost(loss) => loss.name(),
            Self::Detached => "detached",
            Self::Forgotten => "forgotten",
        }
    }
}
