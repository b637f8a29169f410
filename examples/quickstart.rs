//! Two workers contend for one lock; the URL says in which store the lock lives.
//!
//! ```sh
//! cargo run --example quickstart                              # in the memory of this process
//! cargo run --example quickstart -- redis://127.0.0.1:6379    # on a server
//! ```
//!
//! Each worker reads a counter, works for a while, and writes it back plus one. Without the lock
//! they would overwrite each other; the last line counts the updates.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its reader")]

use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lock_core::LockClient;
use lock_core::registry::ProviderRegistry;
use tokio::time::sleep;

const KEY: &str = "invoice/42";
const ROUNDS: u32 = 3;

#[tokio::main]
async fn main() -> ExitCode {
    let url = std::env::args().nth(1).unwrap_or_else(|| "memory://".into());
    match contend(&url).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}"); // with everything that caused it
            ExitCode::FAILURE
        }
    }
}

async fn contend(url: &str) -> Result<(), Box<dyn Error>> {
    let registry =
        ProviderRegistry::new().register(lock_memory::factory())?.register(lock_redis::factory())?;
    let locks = registry.connect(url).await?;

    let updates = Arc::new(AtomicU32::new(0));
    let ann = tokio::spawn(work("ann", locks.clone(), Arc::clone(&updates)));
    let ben = tokio::spawn(work("ben", locks.clone(), Arc::clone(&updates)));
    ann.await??;
    ben.await??;

    let (counted, made) = (updates.load(Ordering::Relaxed), 2 * ROUNDS);
    if counted != made {
        return Err(format!("{made} updates were made, but only {counted} counted").into());
    }
    println!("{counted} of {made} updates counted, locks on {}", locks.info().name());
    Ok(())
}

async fn work(name: &str, locks: LockClient, updates: Arc<AtomicU32>) -> lock_core::Result<()> {
    for _ in 0..ROUNDS {
        println!("{name} asks for {KEY}");
        // `acquire` alone would do; asking first lets us say that we wait.
        let guard = match locks.lock(KEY).try_acquire().await {
            Ok(guard) => guard,
            Err(error) if error.is_contended() => {
                println!("{name} waits");
                locks.lock(KEY).wait_at_most(Duration::from_secs(10)).acquire().await?
            }
            Err(error) => return Err(error),
        };
        let token = guard.fencing_token().map_or("none".into(), |token| token.to_string());
        println!("{name} holds, fencing token {token}");

        let read = updates.load(Ordering::Relaxed);
        sleep(Duration::from_millis(50)).await;
        updates.store(read + 1, Ordering::Relaxed);

        println!("{name} releases");
        guard.release().await?;
        sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}
