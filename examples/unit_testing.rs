//! How to unit-test code that takes locks: a store in memory, a clock that the test moves, and
//! faults that it injects. A template to copy.
//!
//! ```sh
//! cargo test --example unit_testing
//! cargo run --example unit_testing     # the same scenarios, told one by one
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lock_core::clock::Clock;
use lock_core::{LockClient, Result};
use lock_memory::{Fault, Faults, ManualClock, MemoryProvider, Verb};

// --- The code under test: it gets a `LockClient` and never names a store.

#[derive(Debug, PartialEq)]
enum Night {
    Done,
    Skipped,
    Stopped,
}

/// Runs the nightly job, unless another instance is at it.
async fn nightly(locks: &LockClient, job: impl Future<Output = ()>) -> Result<Night> {
    let minute = Duration::from_secs(60);
    match locks.lock("nightly").ttl(minute).no_wait().run(|_lease| job).await {
        Ok(()) => Ok(Night::Done),
        Err(error) if error.is_contended() => Ok(Night::Skipped),
        Err(error) if error.is_lost() => Ok(Night::Stopped),
        Err(error) => Err(error),
    }
}

// --- The stage: what every test needs.

struct Stage {
    clock: ManualClock,
    faults: Faults,
    locks: LockClient,
    /// How many steps the job has made.
    steps: AtomicU32,
}

impl Stage {
    fn new() -> Self {
        let (clock, faults) = (ManualClock::new(), Faults::new());
        let store = MemoryProvider::builder().clock(clock.clone()).build();
        let locks = LockClient::new(faults.around(store));
        Self { clock, faults, locks, steps: AtomicU32::new(0) }
    }

    /// A job of an hour: 360 steps of ten seconds.
    async fn job(&self) {
        for _ in 0..360 {
            self.clock.sleep(Duration::from_secs(10)).await;
            self.steps.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lets an hour pass while the code under test runs.
    async fn night(&self) -> Result<Night> {
        let hour = self.clock.advance(Duration::from_secs(3600));
        tokio::join!(nightly(&self.locks, self.job()), hour).0
    }

    fn steps(&self) -> u32 {
        self.steps.load(Ordering::Relaxed)
    }
}

// --- The scenarios. In your own crate they are the tests; here `main` runs them as well.

/// A job of an hour under a lease of a minute is renewed all along, in no time.
async fn an_hour_of_work_is_done_in_no_time() -> Result<()> {
    let stage = Stage::new();
    assert_eq!(stage.night().await?, Night::Done);
    assert_eq!(stage.steps(), 360);
    assert!(stage.faults.count(Verb::Renew) >= 150, "about every third of the minute");
    Ok(())
}

/// The job does not start when another instance has the lock.
async fn the_job_is_skipped_when_another_holds_the_lock() -> Result<()> {
    let stage = Stage::new();
    let _other = stage.locks.lock("nightly").acquire().await?;
    assert_eq!(stage.night().await?, Night::Skipped);
    assert_eq!(stage.steps(), 0);
    Ok(())
}

/// When renewing fails, the job stops before its minute is over and another may have the lock.
async fn a_lost_lock_stops_the_job() -> Result<()> {
    let stage = Stage::new();
    stage.faults.next(Verb::Renew, 100, Fault::unavailable());
    assert_eq!(stage.night().await?, Night::Stopped);
    assert_eq!(stage.steps(), 5, "50 of 60 seconds");
    Ok(())
}

/// Three failed renewals in a row are no loss: they are tried again in time.
async fn a_short_outage_does_not_stop_the_job() -> Result<()> {
    let stage = Stage::new();
    stage.faults.next(Verb::Renew, 3, Fault::unavailable());
    assert_eq!(stage.night().await?, Night::Done);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    an_hour_of_work_is_done_in_no_time().await?;
    println!("ok: an hour of work is done in no time");
    the_job_is_skipped_when_another_holds_the_lock().await?;
    println!("ok: the job is skipped when another holds the lock");
    a_lost_lock_stops_the_job().await?;
    println!("ok: a lost lock stops the job");
    a_short_outage_does_not_stop_the_job().await?;
    println!("ok: a short outage does not stop the job");
    Ok(())
}

#[cfg(test)]
mod tests {
    use lock_core::Result;

    // `tokio::test` has one thread, on which `ManualClock::advance` leaves nothing half done.

    #[tokio::test]
    async fn an_hour_of_work_is_done_in_no_time() -> Result<()> {
        super::an_hour_of_work_is_done_in_no_time().await
    }

    #[tokio::test]
    async fn the_job_is_skipped_when_another_holds_the_lock() -> Result<()> {
        super::the_job_is_skipped_when_another_holds_the_lock().await
    }

    #[tokio::test]
    async fn a_lost_lock_stops_the_job() -> Result<()> {
        super::a_lost_lock_stops_the_job().await
    }

    #[tokio::test]
    async fn a_short_outage_does_not_stop_the_job() -> Result<()> {
        super::a_short_outage_does_not_stop_the_job().await
    }
}
