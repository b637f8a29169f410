//! Tasks that wait for a held key, and then take one turn each.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Parent, Ready};
use crate::clock;
use crate::contender::Contender;
use crate::turn::Turn;

/// Ready; go starts the tasks; ready; go lets the first holder leave; [`Drained`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Drain {
    pub(crate) tasks: u32,
    pub(crate) first: u32,
    pub(crate) hold: Duration,
    /// Whether this process also has the first holder, for which all wait. It has the number 0.
    pub(crate) holds: bool,
}

/// Every turn, including that of the first holder.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Drained {
    pub(crate) turns: Vec<Turn>,
}

const KEY: &str = "key/0";

impl Drain {
    pub(super) async fn work<C: Contender>(&self, lock: Arc<C>, parent: &mut Parent) -> Result<()> {
        let asked = clock::now();
        let holder = if self.holds { Some(lock.acquire(KEY).await?) } else { None };
        let entered = clock::now();
        parent.ready().await?;

        let waiters: Vec<_> = (self.first..self.first + self.tasks)
            .map(|who| tokio::spawn(one_turn(Arc::clone(&lock), who, self.hold)))
            .collect();
        parent.send(&Ready)?;
        parent.go().await?;

        let mut turns = Vec::new();
        if let Some(guard) = holder {
            let fencing = C::fencing(&guard);
            let left = clock::now();
            lock.release(guard).await?;
            let done = clock::now();
            turns.push(Turn { key: 0, who: 0, asked, entered, left, done, fencing });
        }
        for waiter in waiters {
            turns.push(waiter.await??);
        }
        parent.send(&Drained { turns })
    }
}

async fn one_turn<C: Contender>(lock: Arc<C>, who: u32, hold: Duration) -> Result<Turn> {
    let asked = clock::now();
    let guard = lock.acquire(KEY).await?;
    let entered = clock::now();
    clock::sleep(hold).await;
    let fencing = C::fencing(&guard);
    let left = clock::now();
    lock.release(guard).await?;
    Ok(Turn { key: 0, who, asked, entered, left, done: clock::now(), fencing })
}
