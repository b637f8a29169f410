//! `run` does a piece of work while it holds a lock: renewed as long as the work takes, and the
//! work dropped when the lock is lost.
//!
//! ```sh
//! cargo run --example do_while_held
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::time::Duration;

use lock_core::{Lease, LockClient};
use lock_memory::{Fault, Faults, MemoryProvider, Verb};
use tokio::time::sleep;

const TTL: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let store = MemoryProvider::new();
    let faults = Faults::new();
    let locks = LockClient::builder(faults.around(store.clone())).ttl(TTL).build()?;

    println!("The work takes longer than the ttl of {TTL:?}; the lease is renewed meanwhile:");
    let pages = locks.lock("report/march").run(write_report).await?;
    println!("  done: {pages} pages, {} renewals", faults.count(Verb::Renew));

    println!("The store gives the key to a stranger; the next renewal finds out:");
    let outcome = locks.lock("report/april").run(|lease| async move {
        store.take_over(lease.key())?;
        Ok::<_, lock_core::Error>(write_report(lease).await)
    });
    stopped(outcome.await)?;

    println!("The store cannot be reached any more; the work stops before the lease can end:");
    faults.next(Verb::Renew, 100, Fault::unavailable());
    stopped(locks.lock("report/may").run(write_report).await)
}

/// The work. When the lock is lost it goes no further than its next `await`.
async fn write_report(lease: Lease) -> u32 {
    let pages = 5;
    for page in 1..=pages {
        sleep(TTL * 3 / 10).await;
        println!("  {}, page {page} of {pages}", lease.key());
    }
    pages
}

/// Expects that the lock was lost, and says why.
fn stopped<T>(outcome: lock_core::Result<T>) -> Result<(), Box<dyn Error>> {
    match outcome {
        Ok(_) => Err("the work was finished without the lock".into()),
        Err(error) if error.is_lost() => {
            println!("  stopped: {error}");
            if let Some(cause) = error.source() {
                println!("  because: {cause}");
            }
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
