//! How messages to waiters come in: over one channel for all keys, or over one for each.

use async_trait::async_trait;
use lock_core::{OwnerFingerprint, Result, Watch};
use redis::Cmd;

use crate::keys::Keys;
use crate::net::listener::Hook;

/// What a subscriber needs of a kind of subscription.
#[async_trait]
pub(super) trait Subscription: Send + Sync {
    /// Names the channel of those who wait for a lock, as `line.lua` takes it apart: behind ':', or
    /// behind ';' if it is a sharded one.
    fn channel(&self, keys: &Keys) -> String;

    /// Subscribes if need be, and begins to listen for one waiter.
    async fn watch(&self, owner: OwnerFingerprint, keys: &Keys) -> Result<Watch>;

    /// Has the server report the release of a lock that another library holds, if it can.
    fn follow(&self, owner: OwnerFingerprint, keys: &Keys, command: Cmd);

    /// Returns what ends the subscription and every watch.
    fn hanging_up(&self) -> Hook;
}
