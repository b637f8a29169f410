//! One subscription for all keys, over a connection that the first waiter opens.

use std::sync::Arc;

use async_trait::async_trait;
use lock_core::backend::Subscription;
use lock_core::{OwnerFingerprint, Result};
use redis::{Cmd, PushInfo, PushKind, Value};

use super::channel::Channel;
use super::follow::Followers;
use super::waiters::Waiters;
use crate::config::timeouts::Timeouts;
use crate::keys::Keys;
use crate::net::connection::{Connection, Settings};
use crate::net::endpoint::Endpoint;
use crate::net::listener::{Hook, Listener};

/// One channel that all waiters of a provider share, so that a wait costs no subscription. The
/// queue in the store names each waiter's channel, so a release publishes nothing if nobody waits.
pub(super) struct Shared {
    connection: Arc<Connection>,
    inbox: Arc<Inbox>,
}

/// Takes the messages of the connection.
struct Inbox {
    channel: String,
    waiters: Arc<Waiters>,
    followers: Arc<Followers>,
}

impl Shared {
    pub(super) fn new(
        endpoint: Endpoint,
        timeouts: Timeouts,
        channel: String,
        waiters: &Arc<Waiters>,
    ) -> Self {
        let waiters = Arc::clone(waiters);
        let followers = Arc::new(Followers::of(&waiters));
        let inbox = Arc::new(Inbox { channel, waiters, followers });
        let listener = Some(Arc::clone(&inbox) as Arc<dyn Listener>);
        // The connection is not checked, because no lock depends on it.
        let settings = Settings { endpoint, timeouts, checks: None, replaced: None, listener };
        Self { connection: Arc::new(Connection::closed(settings)), inbox }
    }
}

#[async_trait]
impl Channel for Shared {
    fn name(&self, _: &Keys) -> String {
        format!(":{}", self.inbox.channel)
    }

    async fn subscribe(&self, owner: OwnerFingerprint, _: &Keys) -> Result<Subscription> {
        self.connection.connect().await?;
        Ok(self.inbox.waiters.add(owner, None))
    }

    fn follow(&self, owner: OwnerFingerprint, keys: &Keys, command: Cmd) {
        self.inbox.followers.follow(&self.connection, keys.lock(), owner, command);
    }

    fn closing(&self) -> Hook {
        let (close, inbox) = (self.connection.closing(), Arc::clone(&self.inbox));
        Arc::new(move || {
            close();
            inbox.waiters.end();
            inbox.followers.clear();
        })
    }
}

impl Listener for Inbox {
    fn channel(&self) -> Option<&str> {
        Some(&self.channel)
    }

    fn opening(&self) {
        self.followers.clear(); // they belong to the last connection
    }

    fn hear(&self, push: &PushInfo) {
        self.waiters.hear(push);
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Invalidate, [Value::Array(keys)]) => {
                for key in keys {
                    if let Value::BulkString(key) = key {
                        self.followers.changed(&String::from_utf8_lossy(key));
                    }
                }
            }
            (PushKind::Disconnection, _) => self.followers.clear(),
            _ => {}
        }
    }
}
