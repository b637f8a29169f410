//! The bare round trip, without any lock.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Parent, Ready};
use crate::clock;

/// Ready; then for every `go` a list of nanoseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Ping {
    /// How many, one right after the other.
    pub(crate) count: usize,
}

impl Ping {
    pub(super) async fn work(&self, url: &str, parent: &mut Parent) -> Result<()> {
        let client = redis::Client::open(url)?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        parent.say(&Ready)?;
        loop {
            parent.go().await?;
            let mut trips = Vec::with_capacity(self.count);
            for _ in 0..self.count {
                let start = clock::now();
                redis::cmd("PING").query_async::<()>(&mut connection).await?;
                trips.push(clock::now() - start);
            }
            parent.say(&trips)?;
        }
    }
}
