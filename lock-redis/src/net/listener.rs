//! Callbacks of connections, so that connections do not depend on what waits.

use std::sync::Arc;

use redis::PushInfo;

/// A callback without arguments.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// Takes what a server sends unasked.
pub(crate) trait Listener: Send + Sync {
    /// Returns the channel that each connection subscribes to before anything else, if there is
    /// one.
    fn channel(&self) -> Option<&str> {
        None
    }

    /// Called before a connection is opened. What was subscribed to on the last one has ended.
    fn opening(&self) {}

    /// Takes a message, or the end of the connection. Called on a runtime.
    fn hear(&self, push: &PushInfo);
}
