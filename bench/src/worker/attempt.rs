//! One acquisition, which need not succeed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Parent;
use crate::clock;
use crate::contender::Contender;

/// Ready; go; [`Told`].
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Attempt {
    /// It is given up after this long.
    pub(crate) limit: Duration,
}

/// What came of it, and how long that took in nanoseconds.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(crate) struct Told {
    pub(crate) granted: bool,
    pub(crate) took: u64,
}

impl Attempt {
    pub(super) async fn work<C: Contender>(&self, lock: Arc<C>, parent: &mut Parent) -> Result<()> {
        parent.ready().await?;
        let began = clock::now();
        let attempt = tokio::time::timeout(self.limit, lock.acquire("key/0")).await;
        parent.say(&Told { granted: matches!(attempt, Ok(Ok(_))), took: clock::now() - began })
    }
}
