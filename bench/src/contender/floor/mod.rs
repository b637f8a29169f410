//! Floors: minimal implementations on the bare driver. They are not locks to use: they ignore
//! expiry, lost answers, cancelled waiters and broken connections.

pub(crate) mod parallel;
pub(crate) mod publish;
pub(crate) mod raw;
pub(crate) mod same_script;
pub(crate) mod store_queue;
mod subscription;

use std::sync::LazyLock;
use std::time::Duration;

use redis::Script;

/// Makes a new owner token, as long as those of our locks.
fn token() -> String {
    format!("{:022x}", fastrand::u64(..))
}

/// Returns whole milliseconds, for the arguments of commands.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Deletes a key if it has the given value.
static COMPARE_AND_DELETE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end \
         return 0",
    )
});
