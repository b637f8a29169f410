//! The error type: its kind, operation, key, provider and cause.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The result of the fallible functions of this crate.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
/// # let locks = LockClient::new(MemoryProvider::new());
///
/// async fn charge(locks: &LockClient, invoice: &str) -> lock_core::Result<()> {
///     let guard = locks.lock(format!("invoice/{invoice}")).acquire().await?;
///     // … charge the customer …
///     guard.release().await
/// }
/// charge(&locks, "42").await?;
/// # Ok(())
/// # }
/// ```
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Reports what went wrong, in one type for every backend.
///
/// Use the predicates ([`is_contended`](Error::is_contended),
/// [`is_unavailable`](Error::is_unavailable) and others) rather than the text of the message.
///
/// | text | what it shows |
/// |---|---|
/// | `{error}` | operation, key, provider and message, but not the cause |
/// | `{error:#}` | the same, followed by the causes, in one line |
///
/// The cause that a backend reported is the [`source`](StdError::source). No message contains a
/// password or an owner token. Clones share the cause.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
/// # let locks = LockClient::new(MemoryProvider::new());
/// let _held = locks.lock("invoice/42").acquire().await?;
/// let error = locks.lock("invoice/42").no_wait().acquire().await.unwrap_err();
/// if error.is_held_by_another() {
///     println!("busy for another {:?}", error.remaining());
/// }
/// assert_eq!((error.key(), error.provider()), (Some("invoice/42"), Some("memory")));
/// assert!(error.to_string().starts_with("acquire `invoice/42` on memory: another owner holds"));
/// # Ok(())
/// # }
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
///
/// # HTTP status
///
/// A service that answers with the error of a lock may use this table:
///
/// | kind | of an acquisition | of [`run`](crate::Acquire::run), once its work has begun |
/// |---|---|---|
/// | [`Contended`](Self::Contended), [`TimedOut`](Self::TimedOut) | 409: another owner holds the lock | – |
/// | [`Unavailable`](Self::Unavailable) | 503: a retry may help | – |
/// | [`Cancelled`](Self::Cancelled) | 503: a retry may help | 500: the work may be done, half done, or not done |
/// | [`Lost`](Self::Lost) | – | 500: the work may be done, half done, or not done |
/// | all others | 500: the service or its store is set up wrongly | – |
///
/// An invalid key is [`Invalid`](Self::Invalid), and so is an invalid ttl. If the key comes from
/// the HTTP request, check it first with [`LockKey::new`](crate::LockKey::new), and answer 400 if
/// it is refused.
///
/// For `Retry-After`, round [`Error::remaining`] up to whole seconds, and use at most a few seconds:
/// the holder may release long before its lease ends.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// use lock_core::ErrorKind;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
///
/// # let locks = LockClient::new(MemoryProvider::new());
///
/// let _held = locks.lock("invoice/42").acquire().await?;
/// let error = locks.lock("invoice/42").no_wait().acquire().await.unwrap_err();
/// match error.kind() {
///     ErrorKind::Contended | ErrorKind::TimedOut => println!("busy, come back later"),
///     ErrorKind::Unavailable => println!("the store is down"),
///     _ => return Err(error),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Another owner holds the key, and the caller does not wait or the retry strategy has ended.
    Contended,
    /// Another owner still held the key when the time to wait was over.
    TimedOut,
    /// The caller's cancellation token was cancelled during the acquisition.
    Cancelled,
    /// The backend could not be reached, or did not answer in time. A retry may help.
    Unavailable,
    /// The lock was held before, and no longer is.
    Lost,
    /// The backend refuses this user, for instance for a wrong password or a missing permission.
    Denied,
    /// A URL, option, name or setting is wrong. A retry does not help.
    Misconfigured,
    /// The provider lacks a capability that the request needs.
    Unsupported,
    /// A key, ttl, note or token is out of range.
    Invalid,
    /// The key holds something that no lock wrote and that never expires (law X1).
    Foreign,
    /// The store contains data that no lock can have written there, such as a damaged counter.
    Corrupt,
}

impl ErrorKind {
    /// Returns the name, for the label of a metric. It does not change between versions.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::ErrorKind;
    ///
    /// assert_eq!(ErrorKind::TimedOut.name(), "timed_out");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Self::Contended => "contended",
            Self::TimedOut => "timed_out",
            Self::Cancelled => "cancelled",
            Self::Unavailable => "unavailable",
            Self::Lost => "lost",
            Self::Denied => "denied",
            Self::Misconfigured => "misconfigured",
            Self::Unsupported => "unsupported",
            Self::Invalid => "invalid",
            Self::Foreign => "foreign",
            Self::Corrupt => "corrupt",
        }
    }
}

impl fmt::Display for ErrorKind {
    /// Writes the [`name`](ErrorKind::name).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What a failed request did to the store.
///
/// # Examples
///
/// ```
/// use lock_core::backend::Effect;
/// use lock_core::{Error, ErrorKind};
///
/// let lost = Error::new(ErrorKind::Unavailable, "no answer within 2s");
/// assert_eq!(lost.effect(), Effect::Unknown);
/// let refused = Error::new(ErrorKind::Unavailable, "connection refused");
/// let refused = refused.with_effect(Effect::NotApplied);
/// assert_eq!(refused.effect(), Effect::NotApplied);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Effect {
    /// The store refused the request, or never received it, so nothing has changed.
    NotApplied,
    /// The request may have taken effect, or may do so later. Core undoes such an acquisition (law
    /// U1).
    Unknown,
}

/// The operations that can fail.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// use lock_core::observe::Operation;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
///
/// # let locks = LockClient::new(MemoryProvider::new());
///
/// let error = locks.lock("").acquire().await.unwrap_err();
/// assert_eq!(error.operation(), Some(Operation::Acquire));
/// # Ok(())
/// # }
/// ```
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

/// How many attempts an acquisition made, and how long it took.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::MemoryProvider;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
/// # let locks = LockClient::new(MemoryProvider::new());
///
/// let _held = locks.lock("invoice/42").acquire().await?;
/// let error = locks.lock("invoice/42").no_wait().acquire().await.unwrap_err();
/// let effort = error.effort().expect("an acquisition has tried");
/// assert_eq!(effort.attempts, 1);
/// println!("gave up after {:?}", effort.waited);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Effort {
    /// The number of requests.
    pub attempts: u32,
    /// The time from the start of the acquisition to its end, whether or not the key was held.
    pub waited: Duration,
}

impl Error {
    /// Makes an error of a kind.
    ///
    /// Write the message as a lower-case sentence without a full stop.
    ///
    /// The [`Effect`] is [`Unknown`](Effect::Unknown) for [`ErrorKind::Unavailable`] and
    /// [`NotApplied`](Effect::NotApplied) for every other kind. Use
    /// [`with_effect`](Error::with_effect) to change it.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Error, ErrorKind};
    ///
    /// let error = Error::new(ErrorKind::Denied, "the user `app` may not use the table `locks`");
    /// assert!(error.is_denied());
    /// ```
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

    /// Sets the cause, which [`source`](StdError::source) returns.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::{Error, ErrorKind};
    ///
    /// let cause = std::io::Error::other("connection reset");
    /// let error = Error::new(ErrorKind::Unavailable, "no answer").with_source(cause);
    /// assert_eq!(error.to_string(), "no answer");
    /// assert_eq!(format!("{error:#}"), "no answer: connection reset");
    /// ```
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let source = Arc::from(source.into());
        self.edit(|inner| inner.source = Some(source))
    }

    /// Sets what the failed request did to the store.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::backend::Effect;
    /// use lock_core::{Error, ErrorKind};
    ///
    /// // The request never left, so core does not have to undo it:
    /// let error = Error::new(ErrorKind::Unavailable, "no connection within 1s");
    /// let error = error.with_effect(Effect::NotApplied);
    /// ```
    #[must_use]
    pub fn with_effect(self, effect: Effect) -> Self {
        self.edit(|inner| inner.effect = effect)
    }

    /// Sets the operation, key and provider that are not set yet. Core does this for errors that a
    /// backend returns from a verb.
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

    /// Makes an error about a wrong setting.
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

    /// Returns the key.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// Returns the name of the provider.
    pub fn provider(&self) -> Option<&str> {
        self.0.provider.as_deref()
    }

    /// Returns how much an acquisition had tried when it failed.
    pub fn effort(&self) -> Option<Effort> {
        self.0.effort
    }

    /// Returns how long the lease of the other holder had left at the last attempt.
    ///
    /// `None` if the backend does not report it.
    pub fn remaining(&self) -> Option<Duration> {
        self.0.remaining
    }

    /// Returns whether another owner held the key, and the caller did not wait or the retry
    /// strategy ended.
    pub fn is_contended(&self) -> bool {
        self.0.kind == ErrorKind::Contended
    }

    /// Returns whether another owner still held the key when the time to wait was over.
    pub fn is_timed_out(&self) -> bool {
        self.0.kind == ErrorKind::TimedOut
    }

    /// Returns whether the caller's cancellation token was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.kind == ErrorKind::Cancelled
    }

    /// Returns whether the backend could not be reached, or did not answer in time.
    pub fn is_unavailable(&self) -> bool {
        self.0.kind == ErrorKind::Unavailable
    }

    /// Returns whether a lock was lost.
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

    /// Returns whether the provider lacks a capability.
    pub fn is_unsupported(&self) -> bool {
        self.0.kind == ErrorKind::Unsupported
    }

    /// Returns whether an argument is out of range.
    pub fn is_invalid(&self) -> bool {
        self.0.kind == ErrorKind::Invalid
    }

    /// Returns whether another owner held the key until the caller stopped waiting.
    ///
    /// It is [`is_contended`](Error::is_contended) or [`is_timed_out`](Error::is_timed_out).
    pub fn is_held_by_another(&self) -> bool {
        self.is_contended() || self.is_timed_out()
    }

    /// Returns whether the store contains data that no lock can have written there.
    pub fn is_corrupt(&self) -> bool {
        self.0.kind == ErrorKind::Corrupt
    }

    /// Returns whether the key holds data that no lock wrote and that never expires (law X1).
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
    /// Writes the chain of sources. Some errors of drivers repeat the text of their own source,
    /// which is written once.
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
    fn w3_every_kind_has_a_name_of_its_own_for_labels() {
        let kinds = [
            ErrorKind::Contended,
            ErrorKind::TimedOut,
            ErrorKind::Cancelled,
            ErrorKind::Unavailable,
            ErrorKind::Lost,
            ErrorKind::Denied,
            ErrorKind::Misconfigured,
            ErrorKind::Unsupported,
            ErrorKind::Invalid,
            ErrorKind::Foreign,
            ErrorKind::Corrupt,
        ];
        let names: std::collections::BTreeSet<_> = kinds.map(ErrorKind::name).into();
        assert_eq!(names.len(), kinds.len());
        assert!(names.iter().all(|name| name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')));
        assert_eq!(format!("{:>10}|", ErrorKind::Lost), "      lost|");
    }

    /// An application converts the errors of acquisitions and releases with one `From`.
    #[test]
    fn a_release_fails_with_the_error_that_all_other_verbs_fail_with() {
        #[derive(Debug)]
        struct Mine(Error);
        impl From<Error> for Mine {
            fn from(error: Error) -> Self {
                Self(error)
            }
        }
        async fn work(guard: crate::LockGuard) -> Result<(), Mine> {
            guard.renew().await?;
            guard.release().await?;
            Ok(())
        }
        let _compiles = work;
        assert!(Mine::from(Error::misconfigured("x")).0.is_misconfigured());
    }

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
