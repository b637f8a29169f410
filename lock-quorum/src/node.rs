//! One node of a quorum, and whether it can be relied on.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;

use crate::campaign::{Answer, Ask, Reach};
use lock_core::clock::Moment;
use lock_core::{Error, LockProvider};

/// One node of a quorum, and whether it can be relied on.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) provider: Arc<dyn LockProvider>,
    /// When a node that has failed is asked again, in ns; zero for one that works. Only the one
    /// request that moves it forward is sent, so a frozen node is probed once per time limit,
    /// however many locks there are.
    again: AtomicU64,
}

impl Node {
    pub(crate) fn new(provider: Arc<dyn LockProvider>) -> Self {
        Self { provider, again: AtomicU64::new(0) }
    }

    pub(crate) fn again(&self) -> Self {
        Self::new(Arc::clone(&self.provider))
    }

    /// How to treat it now. A node that has failed costs its time limit once; then it is probed by
    /// one request at a time, and nobody waits for it until it has answered.
    pub(crate) fn reach(&self, now: Moment, every: Duration) -> Reach {
        let (now, again) = (nanos(now), self.again.load(Ordering::Relaxed));
        if again == 0 {
            return Reach::Awaited;
        }
        if now < again {
            return Reach::Skipped;
        }
        let next = now.saturating_add(u64::try_from(every.as_nanos()).unwrap_or(u64::MAX)).max(1);
        let swap = self.again.compare_exchange(again, next, Ordering::Relaxed, Ordering::Relaxed);
        if swap.is_ok() { Reach::Probed } else { Reach::Skipped }
    }

    /// Whether it has not failed lately.
    pub(crate) fn is_reliable(&self) -> bool {
        self.again.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn worked(&self) {
        if self.again.load(Ordering::Relaxed) != 0 {
            self.again.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self, now: Moment) {
        let _ =
            self.again.compare_exchange(0, nanos(now).max(1), Ordering::Relaxed, Ordering::Relaxed);
    }
}

fn nanos(moment: Moment) -> u64 {
    u64::try_from(moment.since_start().as_nanos()).unwrap_or(u64::MAX)
}

/// A request to a node that is under way.
pub(crate) type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What is heard of a request to a node.
pub(crate) enum Word {
    Answer(Answer<Error>),
    /// It has no answer within the node's time, but may have one later.
    Late(Error, Pending<(Ask, Word)>),
}

/// Requests that are under way; each is polled when it has news, not whenever another has.
pub(crate) type Requests<T> = FuturesUnordered<Pending<T>>;

/// Answers of nodes, each with what was asked.
pub(crate) type Answers = Requests<(Ask, Word)>;
