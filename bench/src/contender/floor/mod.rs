//! Floors: the least that any implementation has to do, rebuilt over the bare driver. They are no
//! locks to use: nothing is done about expiry, lost answers, cancelled waiters or broken
//! connections.

pub(crate) mod parallel;
pub(crate) mod publish;
pub(crate) mod raw;
pub(crate) mod same_script;
pub(crate) mod store_queue;
mod subscription;

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

/// A fresh owner token, of as many bytes as ours has.
fn token() -> String {
    format!("{:022x}", fastrand::u64(..))
}

/// Whole milliseconds, as arguments of commands.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Deletes a key if it has the value given.
static COMPARE_AND_DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end \
         return 0",
    )
});
