//! How messages to waiters come in: over one channel for all keys, or over one for each.

use async_trait::async_trait;
use lock_core::backend::Subscription;
use lock_core::{OwnerFingerprint, Result};
use redis::Cmd;

use crate::keys::Keys;
use crate::net::listener::Hook;

/// What a subscriber needs of a kind of channel.
#[async_trait]
pub(super) trait Channel: Send + Sync {
    /// Names the channel of those who wait for a lock, as `queue.lua` takes it apart: behind ':', or
    /// behind ';' if it is a sharded one.
    fn name(&self, keys: &Keys) -> String;

    /// Subscribes if need be, and begins to listen for one waiter.
    async fn subscribe(&self, owner: OwnerFingerprint, keys: &Keys) -> Result<Subscription>;

    /// Has the server report the release of a lock that another library holds, if it can.
    fn follow(&self, owner: OwnerFingerprint, keys: &Keys, command: Cmd);

    /// Returns what closes the channel and ends every subscription.
    fn closing(&self) -> Hook;
}
