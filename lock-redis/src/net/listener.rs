//! What connections call when something happens on them, so that they need not know whom it concerns.

use std::sync::Arc;

use redis::PushInfo;

/// Called when something has happened.
pub(crate) type Hook = Arc<dyn Fn() + Send + Sync>;

/// Takes what a server reports without having been asked.
pub(crate) trait Listener: Send + Sync {
    /// The channel to which each connection subscribes before anything else, if there is one.
    fn channel(&self) -> Option<&str> {
        None
    }

    /// A connection is about to be opened: whatever was asked of the last one has ended with it.
    fn opening(&self) {}

    /// Takes a report, on a runtime. The end of a connection is one as well.
    fn hear(&self, push: &PushInfo);
}
