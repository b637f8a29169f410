//! Undoes acquisitions whose outcome is unknown, in the background.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::{Bound, Engine};
use crate::backend::{Release, Verb};
use crate::clock::Moment;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::observe::EventKind;
use crate::retry::{Backoff, RetryStrategy};

/// The largest number of copies of one acquisition that may take effect while it is undone.
const MOST_COPIES: usize = 10;

/// Background work ends after this time, even if the lease lasts longer.
const LONGEST_EFFORT: Duration = Duration::from_secs(60);

/// How often a background request may be denied, over about eight seconds. A user whose permissions
/// are being changed is denied for a moment. A user who stays denied must not retry for ever.
const MOST_DENIALS: usize = 10;

impl Engine {
    /// Undoes an acquisition whose outcome is unknown, on `runtime` (law U1).
    ///
    /// `event` is false if there is nothing to report, because the owner only leaves the queue of
    /// the store.
    ///
    /// The release of a backend compares the owner, so this is harmless if the request never
    /// arrived. The tombstone of the release makes it harmless if the request arrives later.
    pub(crate) fn undo(self: Arc<Self>, bound: Bound, runtime: &Handle, event: bool) {
        Arc::clone(&self).in_background(runtime, async move {
            let give_up = self.clock.now().after(bound.claim.ttl().as_duration());
            let release = || async {
                let answer = self.release_for_good(&bound).await;
                answer.map_err(|error| self.explain(error, Operation::Release, bound.key()))
            };
            match self.retry_until(give_up, release).await {
                Ok(()) => {
                    self.lines.freed(bound.key(), true);
                    if event {
                        self.report(&bound, EventKind::Undone);
                    }
                }
                Err(cause) if event => self.report(&bound, EventKind::ReleaseFailed { cause }),
                Err(error) => tracing::debug!(%error, "a waiter did not leave the queue"),
            }
        });
    }

    /// Releases until the backend answers "not held".
    ///
    /// Only that answer leaves a tombstone, which stops a late copy of the acquisition.
    pub(crate) async fn release_for_good(&self, bound: &Bound) -> Result<()> {
        for _ in 0..MOST_COPIES {
            let request = bound.lock.release();
            let answer = self.request(bound, Verb::Release, self.request_timeout, request).await?;
            if answer == Release::NotHeld {
                return Ok(());
            }
        }
        let message = "the key is held again after every release";
        Err(Error::new(ErrorKind::Unavailable, message))
    }

    /// Repeats a background request until it is answered, fails for good, or `give_up` is reached.
    pub(crate) async fn retry_until<T, F: Future<Output = Result<T>>>(
        &self,
        give_up: Moment,
        mut request: impl FnMut() -> F,
    ) -> Result<T> {
        let give_up = give_up.min(self.clock.now().after(LONGEST_EFFORT));
        let pause = Backoff::exponential(Duration::from_millis(20), Duration::from_secs(2));
        let mut last =
            Error::new(ErrorKind::Unavailable, "there was no time left to release the key");
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
