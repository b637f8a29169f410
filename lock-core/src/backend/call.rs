//! One request to the backend, with a time limit, and with panics turned into errors.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// Runs one request to a backend with a time limit, and turns its panic into an error.
///
/// So a panic in a renewal does not end the renewals.
///
/// # Errors
///
/// The error of the request, or [`ErrorKind::Unavailable`] when the limit was reached or the
/// request panicked. The [effect](super::Effect) of the latter is unknown, because the request may
/// still take effect.
///
/// # Cancel safety
///
/// Dropping the future drops the request, which may still take effect.
///
/// # Examples
///
/// ```
/// use lock_core::backend::limited;
/// use lock_core::clock::SystemClock;
/// use std::time::Duration;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> lock_core::Result<()> {
///
/// let limit = Duration::from_millis(10);
/// let hung = limited(&SystemClock, limit, std::future::pending::<lock_core::Result<()>>());
/// assert!(hung.await.unwrap_err().is_unavailable());
/// # Ok(())
/// # }
/// ```
pub async fn limited<T>(
    clock: &dyn Clock,
    limit: Duration,
    request: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut request = pin!(caught(request));
    // A store in this process answers at once, so the timer is not even started.
    if let Poll::Ready(answer) = poll_fn(|c| Poll::Ready(request.as_mut().poll(c))).await {
        return answer;
    }
    tokio::select! {
        biased;
        answer = request => answer,
        () = clock.sleep(limit) => Err(Error::new(
            ErrorKind::Unavailable,
            format!("the backend did not answer within {limit:?}"),
        )),
    }
}

/// Polls a future and turns its panic into an error.
async fn caught<T>(request: impl Future<Output = Result<T>>) -> Result<T> {
    let mut request = pin!(request);
    poll_fn(|context| {
        // After a panic the future is never polled again, so no broken state is looked at.
        match catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(context))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(Error::new(
                ErrorKind::Unavailable,
                format!("the backend panicked: {}", message(&*panic)),
            ))),
        }
    })
    .await
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
