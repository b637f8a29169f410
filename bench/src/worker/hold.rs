//! Many locks held at the same time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Parent;
use crate::contender::Contender;

/// Returns how many bytes are allocated now, in a process that counts them.
pub type Meter = Option<fn() -> usize>;

/// Ready; go acquires; [`Holding`]; go releases; [`Released`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Hold {
    pub(crate) locks: usize,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Holding {
    /// The growth of the live memory of the process.
    pub(crate) bytes: usize,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Released {
    /// The number of locks that were still held.
    pub(crate) held: usize,
}

/// The number of tasks that acquire or release at the same time.
const TASKS: usize = 64;

/// The number of locks acquired beforehand. It is small, so that the cost of tables that grow with
/// the number of locks is still measured.
const WARM: usize = 256;

/// Long enough for everything to be freed that only the acquisition needed.
const SETTLE: Duration = Duration::from_millis(100);

impl Hold {
    pub(super) async fn work<C: Contender>(
        &self,
        lock: Arc<C>,
        parent: &mut Parent,
        meter: Meter,
    ) -> Result<()> {
        let meter = meter.context("this job needs the program `counting-worker`")?;
        // These make the buffers of the connection grow before the measurement.
        release(&lock, acquire(&lock, WARM).await?).await?;
        parent.ready().await?;

        let before = meter();
        let guards = acquire(&lock, self.locks).await?;
        tokio::time::sleep(SETTLE).await;
        parent.send(&Holding { bytes: meter().saturating_sub(before) })?;

        parent.go().await?;
        parent.send(&Released { held: release(&lock, guards).await? })
    }
}

async fn acquire<C: Contender>(lock: &Arc<C>, locks: usize) -> Result<Vec<C::Guard>> {
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let lock = Arc::clone(lock);
        tasks.push(tokio::spawn(async move {
            let mut guards = Vec::new();
            for number in (task..locks).step_by(TASKS) {
                guards.push(lock.acquire(&format!("key/{number}")).await?);
            }
            anyhow::Ok(guards)
        }));
    }
    let mut guards = Vec::with_capacity(locks);
    for task in tasks {
        guards.append(&mut task.await??);
    }
    Ok(guards)
}

/// Releases all locks. Returns how many were still held.
async fn release<C: Contender>(lock: &Arc<C>, mut guards: Vec<C::Guard>) -> Result<usize> {
    let mut tasks = Vec::new();
    while !guards.is_empty() {
        let lock = Arc::clone(lock);
        let part = guards.split_off(guards.len() - guards.len().div_ceil(TASKS - tasks.len()));
        tasks.push(tokio::spawn(async move {
            let mut held = 0;
            for guard in part {
                held += usize::from(lock.release(guard).await?);
            }
            anyhow::Ok(held)
        }));
    }
    let mut held = 0;
    for task in tasks {
        held += task.await??;
    }
    Ok(held)
}
