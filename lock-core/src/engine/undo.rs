//! Undoing an acquisition whose outcome is not known, in the background.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Bound, Engine};
use crate::backend::{Lock, Release};
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::observe::EventKind;
use crate::retry::{Backoff, RetryStrategy};

/// How many copies of one acquisition may land while it is being undone.
const MOST_COPIES: usize = 10;

/// Work in the background ends by then, even if the lease is longer.
const LONGEST_EFFORT: Duration = Duration::from_secs(60);

/// How often a request of the background may be denied, over some eight seconds: a user that is
/// being changed is refused for a moment, and one that stays refused must not ask for ever.
const MOST_DENIALS: usize = 10;

impl Engine {
    /// Undoes, on `runtime`, an acquisition whose outcome is not known (law U1), or one that only
    /// leaves the store's queue, which is no `event`.
    ///
    /// The backend's release compares the owner, so this is harmless if the request never arrived,
    /// and its tombstone keeps it harmless if the request arrives later.
    pub(crate) fn undo(self: Arc<Self>, bound: Bound, runtime: &Handle, event: bool) {
        runtime.spawn(async move {
            let Bound { claim, lock } = &bound;
            let give_up = self.clock.now().after(claim.ttl().as_duration());
            let release = || async {
                let answer = self.release_for_good(&**lock).await;
                answer.map_err(|error| self.explain(error, Operation::Release, claim.key()))
            };
            match self.retry_until(give_up, release).await {
                Ok(()) => {
                    self.lines.freed(claim.key(), true);
                    if event {
                        self.report(claim.key(), EventKind::Undone);
                    }
                }
                Err(cause) => self.report(claim.key(), EventKind::ReleaseFailed { cause }),
            }
        });
    }

    /// Releases until the backend answers "not held": only that leaves the tombstone which keeps a
    /// stray copy of the acquisition from taking the key (again).
    pub(crate) async fn release_for_good(&self, lock: &dyn Lock) -> Result<()> {
        for _ in 0..MOST_COPIES {
            if self.call(self.request_timeout, lock.release()).await? == Release::NotHeld {
                return Ok(());
            }
        }
        let message = "the key is held again after every release";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Repeats a request of the background until it is answered or refused for good, or `give_up`
    /// has come.
    pub(crate) async fn retry_until<T, F: Future<Output = Result<T>>>(
        &self,
        give_up: Moment,
        mut request: impl FnMut() -> F,
    ) -> Result<T> {
        let give_up = give_up.min(self.clock.now().after(LONGEST_EFFORT));
        let pause = Backoff::exponential(Duration::from_millis(20), Duration::from_secs(2));
        let mut last = Error::new(ErrorKind::Unavailable, "no time was left to release");
        let mut denials = 0;
        for delay in pause.delays() {
            match request().await {
                Err(error) if error.is_unavailable() => last = error,
                Err(error) if error.is_denied() && denials < MOST_DENIALS => {
                    denials += 1;
                    last = error;
                }
                answer => return answer,
            }
            let again = self.clock.now().after(delay);
            if again > give_up {
                break;
            }
            self.clock.sleep_until(again).await;
        }
        Err(last)
    }
}
