//! A worker that counts its memory. It is a separate program, because counting takes time and the
//! other scenarios measure time.

use std::{alloc::System, env, process::ExitCode};

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(2).collect();
    lock_bench::exit(lock_bench::worker(&args, Some(live_bytes)))
}

/// Returns the number of allocated bytes. A reallocation in place counts as allocating or freeing
/// the difference.
fn live_bytes() -> usize {
    let stats = MEMORY.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}
