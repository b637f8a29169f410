//! Tasks that acquire, hold and release repeatedly: each its own key, or all the same key.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Parent;
use crate::clock;
use crate::contender::Contender;
use crate::turn::Turn;

/// Ready; go; [`Outcome`].
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Cycle {
    pub(crate) tasks: u32,
    /// The number of the first task. Tasks of different processes have different numbers.
    pub(crate) first: u32,
    /// Whether all tasks use the same key.
    pub(crate) shared: bool,
    pub(crate) hold: Duration,
    pub(crate) window: Duration,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Outcome {
    /// The window, in ns of the machine's clock.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The CPU time of this process in ns.
    pub(crate) cpu: u64,
    /// How often another task of this process held the key on entry.
    pub(crate) intruders: u32,
    /// How often a release reported that the key was no longer held.
    pub(crate) lost: u32,
    pub(crate) turns: Vec<Turn>,
}

/// Counts the holders of one key in this process, and the violations.
#[derive(Debug, Default)]
struct Room {
    inside: AtomicU32,
    intruders: AtomicU32,
    lost: AtomicU32,
}

impl Cycle {
    pub(super) async fn work<C: Contender>(&self, lock: Arc<C>, parent: &mut Parent) -> Result<()> {
        parent.ready().await?;
        let cpu = clock::cpu();
        let start = clock::now();
        let end = start + clock::of(self.window);
        let shared = Arc::new(Room::default());
        let mut rooms = vec![Arc::clone(&shared)];
        let mut tasks = Vec::new();
        for who in self.first..self.first + self.tasks {
            let room = if self.shared { Arc::clone(&shared) } else { Arc::default() };
            rooms.push(Arc::clone(&room));
            let key = if self.shared { 0 } else { who };
            tasks.push(tokio::spawn(turns(Arc::clone(&lock), room, key, who, self.hold, end)));
        }
        let mut all = Vec::new();
        for task in tasks {
            all.append(&mut task.await??);
        }
        let cpu = clock::cpu() - cpu;
        if self.shared {
            rooms.truncate(1);
        }
        let sum = |count: fn(&Room) -> &AtomicU32| {
            rooms.iter().map(|room| count(room).load(Ordering::Relaxed)).sum()
        };
        let (intruders, lost) = (sum(|room| &room.intruders), sum(|room| &room.lost));
        parent.send(&Outcome { start, end, cpu, intruders, lost, turns: all })
    }
}

/// Takes turns until the window ends.
async fn turns<C: Contender>(
    lock: Arc<C>,
    room: Arc<Room>,
    key: u32,
    who: u32,
    hold: Duration,
    end: u64,
) -> Result<Vec<Turn>> {
    let name = format!("key/{key}");
    let mut turns = Vec::new();
    let mut asked = clock::now();
    while asked < end {
        let guard = lock.acquire(&name).await?;
        let entered = clock::now();
        if room.inside.fetch_add(1, Ordering::SeqCst) != 0 {
            room.intruders.fetch_add(1, Ordering::Relaxed);
        }
        clock::sleep(hold).await;
        let fencing = C::fencing(&guard);
        room.inside.fetch_sub(1, Ordering::SeqCst);
        let left = clock::now();
        if !lock.release(guard).await? {
            room.lost.fetch_add(1, Ordering::Relaxed);
        }
        let done = clock::now();
        turns.push(Turn { key, who, asked, entered, left, done, fencing });
        asked = done;
    }
    Ok(turns)
}
