//! Times that all processes of one machine can compare.

use std::time::Duration;

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Returns the time of the machine's monotonic clock in ns. It is the same for every process.
pub(crate) fn now() -> u64 {
    nanos(clock_gettime(ClockId::Monotonic))
}

/// Returns the CPU time of this process in ns, user and system.
pub(crate) fn cpu() -> u64 {
    nanos(clock_gettime(ClockId::ProcessCPUTime))
}

fn nanos(time: Timespec) -> u64 {
    let part = |part: i64| u64::try_from(part).unwrap_or_default();
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// Returns a duration in the unit of [`now`].
pub(crate) fn of(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps, precise to a tenth of a millisecond. The timers of tokio count whole milliseconds.
pub(crate) async fn sleep(duration: Duration) {
    if !duration.is_zero() {
        // An error would mean that the runtime shuts down, and this process with it.
        let _ = tokio::task::spawn_blocking(move || std::thread::sleep(duration)).await;
    }
}
