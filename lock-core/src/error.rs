//! One error type: what kind, of which operation, on which key and provider, and why.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Says what went wrong, once, in one type for every backend.
///
/// Ask the predicates ([`is_contended`](Error::is_contended), [`is_unavailable`](Error::is_unavailable)
/// …) rather than matching text. The cause a backend reported is kept as
/// [`source`](StdError::source) and is not repeated in the message; `{error:#}` shows message and
/// causes in one line. No message holds a password or an owner token. Clones share the cause, so the error that put a lock at risk can be told to many.
///
/// # Examples
///
/// ```
/// use lock_core::{Error, ErrorKind};
///
/// let error = Error::new(ErrorKind::Unavailable, "the server closed the connection");
/// assert!(error.is_unavailable() && !error.is_contended());
/// assert_eq!(error.to_string(), "the server closed the connection");
/// ```
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    effect: Effect,
    message: Cow<'static, str>,
    operation: Option<Operation>,
    key: Option<Arc<str>>,
    provider: Option<Arc<str>>,
    effort: Option<Effort>,
    remaining: Option<Duration>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The kinds of failure (law W3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Somebody else holds the key, and the caller chose not to wait (any longer).
    Contended,
    /// Somebody else still held the key when the time to wait was over.
    TimedOut,
    /// The caller's cancellation token fired while acquiring.
    Cancelled,
    /// The backend could not be reached or did not answer in time; trying again may help.
    Unavailable,
    /// The lock was held and is not any more.
    Lost,
    /// The backend refuses this user: wrong password, missing permission.
    Denied,
    /// A URL, option, name or setting is wrong; trying again does not help.
    Misconfigured,
    /// The provider does not have a capability that was asked for.
    Unsupported,
    /// An argument is out of range: key, ttl, metadata, token.
    Invalid,
    /// The key holds something that no lock wrote and that never expires (law X1).
    Foreign,
    /// The backend answered with something that should not be there, such as a damaged counter.
    Corrupt,
}

/// What a failed request did to the store, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// Nothing: the store refused it or never saw it.
    NotApplied,
    /// It may have taken effect, now or later. Core undoes such an acquisition (law U1).
    Unknown,
}

/// The operations an error can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the names are the verbs of the vocabulary")]
pub enum Operation {
    Connect,
    Acquire,
    Renew,
    Release,
    Inspect,
    Resume,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connect",
            Self::Acquire => "acquire",
            Self::Renew => "renew",
            Self::Release => "release",
            Self::Inspect => "inspect",
            Self::Resume => "resume",
        })
    }
}

/// How much an acquisition had tried when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effort {
    /// How many requests it made.
    pub attempts: u32,
    /// How long it took.
    pub waited: Duration,
}

impl Error {
    /// Makes an error of a kind; the message is a lower-case sentence without full stop.
    ///
    /// The [`Effect`] is [`Unknown`](Effect::Unknown) for [`ErrorKind::Unavailable`] and
    /// [`NotApplied`](Effect::NotApplied) for every other kind, until
    /// [`with_effect`](Error::with_effect) says otherwise.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        let effect = match kind {
            ErrorKind::Unavailable => Effect::Unknown,
            _ => Effect::NotApplied,
        };
        Self(Arc::new(Inner {
            kind,
            effect,
            message: message.into(),
            operation: None,
            key: None,
            provider: None,
            effort: None,
            remaining: None,
            source: None,
        }))
    }

    /// Keeps the cause; it becomes [`source`](StdError::source).
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = Arc::from(source.into());
        self.edit(|inner| inner.source = Some(source))
    }

    /// Says what the failed request did to the store.
    #[must_use]
    pub fn with_effect(self, effect: Effect) -> Self {
        self.edit(|inner| inner.effect = effect)
    }

    /// Names the operation, key and provider, where they are not named yet. Core does this for
    /// errors that a backend returns from a verb.
    pub(crate) fn in_operation(
        self,
        operation: Operation,
        key: Option<&Arc<str>>,
        provider: &Arc<str>,
    ) -> Self {
        self.edit(|inner| {
            inner.operation.get_or_insert(operation);
            inner.key = inner.key.take().or_else(|| key.cloned());
            inner.provider.get_or_insert_with(|| Arc::clone(provider));
        })
    }

    pub(crate) fn about(self, key: &Arc<str>, provider: &Arc<str>) -> Self {
        self.edit(|inner| {
            inner.key = Some(Arc::clone(key));
            inner.provider = Some(Arc::clone(provider));
        })
    }

    /// Makes an error about a setting that is wrong.
    pub(crate) fn misconfigured(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Misconfigured, message)
    }

    pub(crate) fn with_effort(self, effort: Effort) -> Self {
        self.edit(|inner| inner.effort = Some(effort))
    }

    pub(crate) fn with_remaining(self, remaining: Option<Duration>) -> Self {
        self.edit(|inner| inner.remaining = remaining)
    }

    fn edit(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// Returns the kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Returns what the failed request did to the store.
    pub fn effect(&self) -> Effect {
        self.0.effect
    }

    /// Returns the operation that failed.
    pub fn operation(&self) -> Option<Operation> {
        self.0.operation
    }

    /// Returns the key it was about.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Returns the name of the provider.
    pub fn provider(&self) -> Option<&str> {
        self.0.provider.as_deref()
    }

    /// Returns what an acquisition had tried before it gave up.
    pub fn effort(&self) -> Option<Effort> {
        self.0.effort
    }

    /// Returns how long the other holder's lease had left at the last attempt, if the backend said.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.remaining
    }

    /// Returns whether somebody else held the key and the caller did not wait any longer.
    pub fn is_contended(&self) -> bool {
        self.0.kind == ErrorKind::Contended
    }

    /// Returns whether the time to wait was over.
    pub fn is_timed_out(&self) -> bool {
        self.0.kind == ErrorKind::TimedOut
    }

    /// Returns whether the caller's cancellation token fired.
    pub fn is_cancelled(&self) -> bool {
        self.0.kind == ErrorKind::Cancelled
    }

    /// Returns whether the backend was out of reach or too slow.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }

    /// Returns whether a lock that was held is gone.
    pub fn is_lost(&self) -> bool {
        self.0.kind == ErrorKind::Lost
    }

    /// Returns whether the backend refused this user.
    pub fn is_denied(&self) -> bool {
        self.0.kind == ErrorKind::Denied
    }

    /// Returns whether a setting is wrong.
    pub fn is_misconfigured(&self) -> bool {
        self.0.kind == ErrorKind::Misconfigured
    }

    /// Returns whether the provider lacks what was asked for.
    pub fn is_unsupported(&self) -> bool {
        self.0.kind == ErrorKind::Unsupported
    }

    /// Returns whether an argument was out of range.
    pub fn is_invalid(&self) -> bool {
        self.0.kind == ErrorKind::Invalid
    }

    /// Returns whether another owner has the lock: the caller did not wait, or not long enough.
    pub fn is_held_by_another(&self) -> bool {
        self.is_contended() || self.is_timed_out()
    }

    /// Returns whether the backend answered with something that should not be there.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == ErrorKind::Corrupt
    }

    /// Returns whether the key holds data that is no lock (law X1).
    pub fn is_foreign(&self) -> bool {
        self.0.kind == ErrorKind::Foreign
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { operation, key, provider, message, effort, .. } = &*self.0;
        let place = if *operation == Some(Operation::Connect) { "to" } else { "on" };
        let subject = [
            operation.map(|operation| operation.to_string()),
            key.as_ref().map(|key| format!("`{key}`")),
            provider.as_ref().map(|provider| format!("{place} {provider}")),
        ];
        let subject = subject.into_iter().flatten().collect::<Vec<_>>().join(" ");
        if !subject.is_empty() {
            write!(f, "{subject}: ")?;
        }
        f.write_str(message)?;
        if let Some(Effort { attempts, waited }) = effort {
            write!(f, " (attempts: {attempts}, waited: {waited:.1?})")?;
        }
        if f.alternate() {
            self.write_causes(f)?;
        }
        Ok(())
    }
}

impl Error {
    /// Writes the chain of sources. Some errors of drivers have the text of their own source; it is
    /// written once.
    fn write_causes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cause = StdError::source(self);
        let mut last = String::new();
        while let Some(error) = cause {
            let text = error.to_string();
            if !last.contains(&text) {
                write!(f, ": {text}")?;
            }
            last = text;
            cause = error.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Error");
        shown.field("kind", &self.0.kind).field("effect", &self.0.effect);
        shown.field("message", &format_args!("{self}"));
        if let Some(source) = &self.0.source {
            shown.field("source", source);
        }
        shown.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl From<std::convert::Infallible> for Error {
    fn from(never: std::convert::Infallible) -> Self {
        match never {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w3_an_error_names_operation_key_provider_and_keeps_its_cause() {
        let key = Arc::from("invoice/42");
        let error = Error::new(ErrorKind::Unavailable, "no answer within 2s")
            .with_source(std::io::Error::other("connection reset"))
            .in_operation(Operation::Acquire, Some(&key), &"redis".into())
            .in_operation(Operation::Release, None, &"outer".into());
        assert_eq!(error.to_string(), "acquire `invoice/42` on redis: no answer within 2s");
        assert!(error.source().unwrap().downcast_ref::<std::io::Error>().is_some());
        assert!(!error.to_string().contains("reset"), "the source is not repeated");
        assert!(format!("{error:#}").ends_with("no answer within 2s: connection reset"));
        assert_eq!(error.effect(), Effect::Unknown);
        let nested = Error::new(ErrorKind::Misconfigured, "outer").with_source(error);
        assert_eq!(
            format!("{nested:#}"),
            "outer: acquire `invoice/42` on redis: no answer within 2s: connection reset"
        );
        assert_eq!(std::mem::size_of::<Error>(), std::mem::size_of::<usize>());
    }
}
