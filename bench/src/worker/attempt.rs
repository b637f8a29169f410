//! One acquisition, which may fail.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Parent;
use crate::clock;
use crate::contender::Contender;

/// Ready; go; [`Answer`].
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Attempt {
    /// The time limit of the acquisition.
    pub(crate) limit: Duration,
}

/// Whether the lock was granted, and after how many ns this was known.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    pub(crate) granted: bool,
    pub(crate) took: u64,
}

impl Attempt {
    pub(super) async fn work<C: Contender>(&self, lock: Arc<C>, parent: &mut Parent) -> Result<()> {
        parent.ready().await?;
        let began = clock::now();
        let attempt = tokio::time::timeout(self.limit, lock.acquire("key/0")).await;
        parent.send(&Answer { granted: matches!(attempt, Ok(Ok(_))), took: clock::now() - began })
    }
}
