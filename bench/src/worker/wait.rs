//! Tasks that wait for a key that stays held.

use std::sync::Arc;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Parent;
use crate::clock;
use crate::contender::Contender;

/// Ready; go starts the tasks; then, after each `go`, a [`Usage`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Wait {
    pub(crate) tasks: u32,
}

/// The CPU time of this process at a point in time, both in ns.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Usage {
    pub(crate) at: u64,
    pub(crate) cpu: u64,
    /// The number of tasks that were granted the key although it was held.
    pub(crate) granted: usize,
}

impl Wait {
    pub(super) async fn work<C: Contender>(&self, lock: Arc<C>, parent: &mut Parent) -> Result<()> {
        parent.ready().await?;
        let waiters: Vec<_> = (0..self.tasks)
            .map(|_| {
                let lock = Arc::clone(&lock);
                tokio::spawn(async move { lock.acquire("key/0").await.map(drop) })
            })
            .collect();
        loop {
            parent.go().await?;
            let granted = waiters.iter().filter(|waiter| waiter.is_finished()).count();
            parent.send(&Usage { at: clock::now(), cpu: clock::cpu(), granted })?;
        }
    }
}
