//! What can go wrong with a call.

use std::time::Duration;

use lock_core::backend::Effect;
use lock_core::{Error, ErrorKind};

/// A fault of one call.
///
/// # Examples
///
/// ```
/// # use lock_core::LockClient;
/// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
/// # use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
/// # let faults = Faults::new();
/// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
///
/// faults.next(Verb::Release, 1, Fault::LoseAnswer);
/// let guard = locks.lock("report").acquire().await?;
/// let failed = guard.release_or_keep().await.unwrap_err();
/// let guard = failed.into_guard().expect("the lock was not lost");
/// guard.release().await?; // the second request confirms the first
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// The call fails with this error and changes nothing.
    Fail(Error),
    /// The call takes effect, but its answer is lost. The caller gets an error with an unknown
    /// effect.
    LoseAnswer,
    /// The call takes effect at once, and its answer comes this much later.
    DelayAnswer(Duration),
    /// The call takes effect this much later, even if its caller has gone.
    Late(Duration),
    /// The backend panics.
    Panic,
    /// The subscription ends at once.
    EndSubscription,
    /// The subscription never gets a signal.
    MuteSubscription,
}

impl Fault {
    /// Makes the fault of a backend that cannot be reached.
    ///
    /// Nothing happens, and the caller gets [`ErrorKind::Unavailable`].
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{Fault, Faults, MemoryProvider, Verb};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let faults = Faults::new();
    /// # let locks = LockClient::new(faults.around(MemoryProvider::new()));
    ///
    /// faults.next(Verb::TryAcquire, 1, Fault::unavailable());
    /// assert!(locks.lock("report").try_acquire().await.unwrap_err().is_unavailable());
    /// # Ok(())
    /// # }
    /// ```
    pub fn unavailable() -> Self {
        let error = Error::new(ErrorKind::Unavailable, "injected: the backend is out of reach");
        Self::Fail(error.with_effect(Effect::NotApplied))
    }
}
