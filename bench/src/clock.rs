//! Times that processes of one machine can compare.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Nanoseconds of the machine's monotonic clock; the same for every process.
pub(crate) fn now() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// Nanoseconds of processor time, user and system, that this process has used.
pub(crate) fn cpu() -> u64 {
    nanos(clock_gettime(ClockId::ProcessCPUTime))
}

fn nanos(time: Timespec) -> u64 {
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// A duration in the unit of [`now`].
pub(crate) fn of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps to a tenth of a millisecond; tokio's own timers count whole ones.
pub(crate) async fn sleep(duration: Duration) {
    if !duration.is_zero() {
        // An error would mean that the runtime is going down, and us with it.
        let _ = tokio::task::spawn_blocking(move || std::thread::sleep(duration)).await;
    }
}
