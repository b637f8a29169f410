//! What happens to locks, as numbers from an `Observer` and as log lines from `tracing`.
//!
//! ```sh
//! cargo run --example observe
//! RUST_LOG=lock_core=trace cargo run --example observe    # renewals too
//! ```

#![allow(clippy::print_stdout, reason = "an example talks to its reader")]

use std::error::Error;
use std::time::Duration;

use lock_core::LockClient;
use lock_core::observe::{AcquireOutcome, Event, EventKind, HoldOutcome, Observer};
use lock_memory::MemoryProvider;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing_subscriber::EnvFilter;

const WORKERS: u32 = 3;

/// The numbers; a metrics library would have a counter or histogram for each.
#[derive(Debug, Default)]
struct Totals {
    acquired: u32,
    waited: u32,
    waiting_time: Duration,
    lost: u32,
    released: u32,
    holding_time: Duration,
}

/// Keeps the totals in a channel, so that anybody may read them or wait for them.
#[derive(Debug)]
struct Meter(watch::Sender<Totals>);

impl Observer for Meter {
    fn on_event(&self, event: &Event) {
        self.0.send_modify(|totals| match event.kind() {
            EventKind::Waiting { .. } => totals.waited += 1,
            EventKind::AcquireEnded {
                outcome: AcquireOutcome::Acquired { .. }, effort, ..
            } => {
                totals.acquired += 1;
                totals.waiting_time += effort.waited;
            }
            EventKind::HoldEnded { outcome: HoldOutcome::Lost(_), .. } => totals.lost += 1,
            EventKind::HoldEnded { held, .. } => {
                totals.released += 1;
                totals.holding_time += *held;
            }
            _ => {}
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let filter = EnvFilter::builder().with_default_directive("lock_core=debug".parse()?);
    let filter = filter.from_env()?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();

    let (sender, mut totals) = watch::channel(Totals::default());
    let store = MemoryProvider::new();
    let locks = LockClient::builder(store.clone()).observer(Meter(sender)).build()?;

    // Three workers want the same key.
    let workers: Vec<_> = (0..WORKERS).map(|_| tokio::spawn(work(locks.clone()))).collect();
    for worker in workers {
        worker.await??;
    }

    // And one lock is lost: a stranger has its key.
    let unlucky = locks.lock("report").ttl(Duration::from_secs(1)).auto_renew().acquire().await?;
    store.take_over(unlucky.key())?;
    unlucky.lost().await;

    // Events arrive on the observer's own thread, a moment later.
    timeout(Duration::from_secs(5), locks.flush()).await?;
    let totals = totals.borrow_and_update();
    println!("acquired {}, after {:.0?} of waiting", totals.acquired, totals.waiting_time);
    println!("waited   {}", totals.waited);
    println!("released {}, after {:.0?} of holding", totals.released, totals.holding_time);
    println!("lost     {}", totals.lost);
    Ok(())
}

async fn work(locks: LockClient) -> lock_core::Result<()> {
    let guard = locks.lock("invoice/42").acquire().await?;
    sleep(Duration::from_millis(100)).await;
    guard.release().await?;
    Ok(())
}
