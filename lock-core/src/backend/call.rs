//! One request to the backend: with a time limit, and its panics turned into errors.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};

/// Runs one backend verb with a time limit; a panic of the backend becomes an error, so that one in a
/// renewal does not end the renewing.
///
/// Either way the request may still take effect, so the error's effect is unknown.
pub async fn limited<T>(
    clock: &dyn Clock,
    limit: Duration,
    request: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut request = pin!(caught(request));
    // A store in this process answers at once, and needs no timer.
    if let Poll::Ready(answer) = poll_fn(|c| Poll::Ready(request.as_mut().poll(c))).await {
        return answer;
    }
    tokio::select! {
        biased;
        answer = request => answer,
        () = clock.sleep_until(clock.now().after(limit)) => Err(Error::new(
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
