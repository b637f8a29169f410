//! A holder that was paused past its ttl comes back and writes; its fencing token stops it.
//!
//! ```sh
//! cargo run --example fencing
//! ```
//!
//! No lock with a ttl can prevent this by itself: the pause may come right after the last check.
//! What keeps the data whole is a resource that refuses tokens older than the newest it has seen.

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::time::Duration;

use lock_core::fencing::{FencingGate, StaleWriter};
use lock_core::{FencingToken, LockClient, LockGuard, OwnerFingerprint};
use lock_memory::{ManualClock, MemoryProvider};

/// The protected resource, perhaps a service on another machine.
#[derive(Default)]
struct Ledger {
    gate: FencingGate,
    entries: Vec<String>,
}

impl Ledger {
    /// Checks and writes in one step (`&mut self` here, a transaction in a database), so that no
    /// later holder can come in between.
    fn write(
        &mut self,
        token: FencingToken,
        owner: OwnerFingerprint,
        entry: &str,
    ) -> Result<(), StaleWriter> {
        self.gate.admit(token, owner)?;
        self.entries.push(entry.into());
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let clock = ManualClock::new();
    let locks = LockClient::new(MemoryProvider::builder().clock(clock.clone()).build());
    let mut ledger = Ledger::default();

    let first = locks.lock("ledger").ttl(Duration::from_secs(30)).acquire().await?;
    println!("holder 1 has token {}", token(&first)?);
    first.check(Duration::from_secs(20))?;
    println!("holder 1 checks: at least 20 s left, time to write ...");
    clock.jump(Duration::from_secs(31));
    println!("... and is paused for 31 s, longer than its ttl");

    let second = locks.lock("ledger").acquire().await?;
    println!("holder 2 has token {}", token(&second)?);
    ledger.write(token(&second)?, second.owner(), "closed by holder 2")?;
    println!("holder 2 writes");

    match ledger.write(token(&first)?, first.owner(), "closed by holder 1") {
        Ok(()) => return Err("the ledger took the write of a stale holder".into()),
        Err(stale) => println!("holder 1 writes and is refused: {stale}"),
    }
    println!("the ledger says: {}", ledger.entries.join(", "));
    second.release().await?;
    Ok(())
}

/// The token to send along with a write.
fn token(guard: &LockGuard) -> Result<FencingToken, &'static str> {
    guard.fencing_token().ok_or("this provider has no fencing")
}
