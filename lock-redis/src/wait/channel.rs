//! How messages to waiters arrive: over one channel for all keys, or over one channel per key.

use async_trait::async_trait;
use lock_core::backend::Subscription;
use lock_core::{OwnerFingerprint, Result};
use redis::Cmd;

use crate::keys::Keys;
use crate::net::listener::Hook;

/// What a subscriber needs from a kind of channel.
#[async_trait]
pub(super) trait Channel: Send + Sync {
    /// Names the channel of the waiters for a lock, as in an entry of the queue: behind ':', or
    /// behind ';' if the channel is sharded. `queue.lua` describes an entry.
    fn name(&self, keys: &Keys) -> String;

    /// Subscribes if necessary, and begins to listen for one waiter.
    async fn subscribe(&self, owner: OwnerFingerprint, keys: &Keys) -> Result<Subscription>;

    /// Has the server report the release of a lock that another library holds, if it can.
    fn follow(&self, owner: OwnerFingerprint, keys: &Keys, command: Cmd);

    /// Returns a function that closes the channel and ends every subscription.
    fn closing(&self) -> Hook;
}
