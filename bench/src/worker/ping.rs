//! Round trips without a lock.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Parent, Ready};
use crate::clock;

/// Ready; then, after each `go`, a list of times in ns.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ping {
    /// The number of round trips, without pauses.
    pub(crate) count: usize,
}

impl Ping {
    pub(super) async fn work(&self, url: &str, parent: &mut Parent) -> Result<()> {
        let client = redis::Client::open(url)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        parent.send(&Ready)?;
        loop {
            parent.go().await?;
            let mut trips = Vec::with_capacity(self.count);
            for _ in 0..self.count {
                let start = clock::now();
                redis::cmd("PING").query_async::<()>(&mut connection).await?;
                trips.push(clock::now() - start);
            }
            parent.send(&trips)?;
        }
    }
}
