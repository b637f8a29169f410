use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::campaign::{Answer, Ask, Reach};
use crate::clock::Moment;
use crate::error::Error;
use crate::provider::LockProvider;

/// One node of a quorum, and whether it can be relied on.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) provider: Arc<dyn LockProvider>,
    /// When a node that has failed is asked again, in ns; zero for one that works.
    again: AtomicU64,
}

impl Node {
    pub(super) fn new(provider: Arc<dyn LockProvider>) -> Self {
        Self { provider, again: AtomicU64::new(0) }
    }

    pub(super) fn again(&self) -> Self {
        Self::new(Arc::clone(&self.provider))
    }

    /// How to treat it now: a node that has failed is asked by one request at a time.
    pub(super) fn reach(&self, now: Moment, every: Duration) -> Reach {
        let (now, again) = (nanos(now), self.again.load(Ordering::Relaxed));
        if again == 0 {
            return Reach::Awaited;
        }
        let next = now.saturating_add(u64::try_from(every.as_nanos()).unwrap_or(u64::MAX)).max(1);
        let swap = self.again.compare_exchange(again, next, Ordering::Relaxed, Ordering::Relaxed);
        if now >= again && swap.is_ok() { Reach::Probed } else { Reach::Skipped }
    }

    pub(super) fn worked(&self) {
        if self.again.load(Ordering::Relaxed) != 0 {
            self.again.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Moment) {
        let _ =
            self.again.compare_exchange(0, nanos(now).max(1), Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.since_start().as_nanos()).unwrap_or(u64::MAX)
}

type Request<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Requests to nodes that are under way.
pub(super) struct Requests<T> {
    pending: Vec<Request<T>>,
}

/// Answers of nodes, each with what was asked.
pub(super) type Answers = Requests<(Ask, Answer<Error>)>;

impl<T> Requests<T> {
    pub(super) fn new() -> Self {
        Self { pending: Vec::new() }
    }

    pub(super) fn push(&mut self, request: impl Future<Output = T> + Send + 'static) {
        self.pending.push(Box::pin(request));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Waits for whichever is answered next; `None` when there is none.
    ///
    /// A quorum has few nodes, so all are polled whenever one may have its answer.
    pub(super) async fn next(&mut self) -> Option<T> {
        if self.pending.is_empty() {
            return None;
        }
        poll_fn(|context| {
            for number in 0..self.pending.len() {
                if let Poll::Ready(answer) = self.pending[number].as_mut().poll(context) {
                    drop(self.pending.swap_remove(number));
                    return Poll::Ready(Some(answer));
                }
            }
            Poll::Pending
        })
        .await
    }
}
