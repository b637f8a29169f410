//! `ManualClock`: time that passes when a test moves it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lock_core::clock::{Clock, Moment, Sleep};

/// How often `advance` lets other tasks run after each step. One round empties the run queue of a
/// current-thread runtime; the rest is for tasks that wake each other up.
const ROUNDS: usize = 16;

/// A clock that only a test moves.
///
/// Clones are the same clock.
///
/// | method | models | effect |
/// |---|---|---|
/// | [`advance`](ManualClock::advance) | time that passes | sleepers wake in the order of their deadlines, each at its own moment |
/// | [`jump`](ManualClock::jump) | a pause of the whole process | all sleepers that are due wake at the new time |
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// use lock_core::LockClient;
/// use lock_memory::{ManualClock, MemoryProvider};
/// use std::time::Duration;
///
/// let clock = ManualClock::new();
/// let locks = LockClient::new(MemoryProvider::builder().clock(clock.clone()).build());
/// let guard = locks.lock("report").ttl(Duration::from_secs(60)).auto_renew().acquire().await?;
///
/// clock.advance(Duration::from_secs(3600)).await; // renewed 180 times, in no time
/// assert!(guard.is_held());
///
/// clock.jump(Duration::from_secs(61)); // the machine slept
/// assert!(!guard.is_held());
/// # Ok::<(), lock_core::Error>(()) }).unwrap();
/// ```
#[derive(Clone, Default)]
pub struct ManualClock {
    timeline: Arc<Mutex<Timeline>>,
}

#[derive(Default)]
struct Timeline {
    /// Never decreases.
    now: Moment,
    /// By deadline, and by `id` among equal deadlines. All deadlines are later than `now`.
    sleepers: BTreeMap<(Moment, u64), Waker>,
    next_id: u64,
}

impl ManualClock {
    /// Makes a clock that stands at its start.
    ///
    /// # Examples
    ///
    /// ```
    /// use lock_core::clock::{Clock, Moment};
    /// use lock_memory::ManualClock;
    ///
    /// assert_eq!(ManualClock::new().now(), Moment::default());
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    fn timeline(&self) -> MutexGuard<'_, Timeline> {
        self.timeline.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass, step by step from one sleeper's deadline to the next.
    ///
    /// On a current-thread runtime, everything that the steps cause has happened when it returns.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the clock at the moment that it has reached.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{ManualClock, MemoryProvider};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let clock = ManualClock::new();
    /// # let locks = LockClient::new(MemoryProvider::builder().clock(clock.clone()).build());
    ///
    /// let guard = locks.lock("k").ttl(Duration::from_secs(60)).auto_renew().acquire().await?;
    /// clock.advance(Duration::from_secs(600)).await; // the renewals run meanwhile
    /// assert!(guard.is_held());
    /// # Ok(())
    /// # }
    /// ```
    pub async fn advance(&self, by: Duration) {
        settle().await;
        let end = self.now().after(by);
        while let Some(step) = self.next_deadline().filter(|step| *step <= end) {
            self.move_to(step);
            settle().await;
        }
        self.move_to(end);
        settle().await;
    }

    /// Moves time forward at once. Sleepers that wake up see the new time.
    ///
    /// # Examples
    ///
    /// ```
    /// # use lock_core::LockClient;
    /// # use lock_memory::{ManualClock, MemoryProvider};
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> lock_core::Result<()> {
    /// # let clock = ManualClock::new();
    /// # let locks = LockClient::new(MemoryProvider::builder().clock(clock.clone()).build());
    ///
    /// let guard = locks.lock("k").ttl(Duration::from_secs(60)).auto_renew().acquire().await?;
    /// clock.jump(Duration::from_secs(600)); // no renewal could run
    /// assert!(!guard.is_held());
    /// # Ok(())
    /// # }
    /// ```
    pub fn jump(&self, by: Duration) {
        self.move_to(self.now().after(by));
    }

    fn next_deadline(&self) -> Option<Moment> {
        self.timeline().sleepers.keys().next().map(|(deadline, _)| *deadline)
    }

    fn move_to(&self, moment: Moment) {
        let mut timeline = self.timeline();
        let now = timeline.now.max(moment);
        timeline.now = now;
        let later = timeline.sleepers.split_off(&(now, u64::MAX));
        let due = std::mem::replace(&mut timeline.sleepers, later);
        drop(timeline);
        due.into_values().for_each(Waker::wake);
    }
}

/// Lets every task that can run do so.
async fn settle() {
    for _ in 0..ROUNDS {
        tokio::task::yield_now().await;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        self.timeline().now
    }

    fn sleep_until(&self, moment: Moment) -> Sleep {
        Box::pin(ManualSleep { clock: self.clone(), moment, id: None })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({:?})", self.now().since_start())
    }
}

struct ManualSleep {
    clock: ManualClock,
    moment: Moment,
    /// Set once the sleep is in the timeline, and never changed after that.
    id: Option<u64>,
}

impl Future for ManualSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let clock = self.clock.clone();
        let mut timeline = clock.timeline();
        if timeline.now >= self.moment {
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| {
            timeline.next_id += 1;
            timeline.next_id
        });
        timeline.sleepers.insert((self.moment, id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.clock.timeline().sleepers.remove(&(self.moment, id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn advance_wakes_sleepers_in_deadline_order_at_their_moments() {
        let clock = ManualClock::new();
        let woken = Arc::new(Mutex::new(Vec::new()));
        for seconds in [3, 1, 2, 9] {
            let (clock, woken) = (clock.clone(), Arc::clone(&woken));
            tokio::spawn(async move {
                let at = clock.now().after(Duration::from_secs(seconds));
                clock.sleep_until(at).await;
                woken.lock().unwrap().push((seconds, clock.now().since_start().as_secs()));
            });
        }
        clock.advance(Duration::from_secs(5)).await;
        assert_eq!(*woken.lock().unwrap(), [(1, 1), (2, 2), (3, 3)]);
        clock.jump(Duration::from_secs(10));
        clock.advance(Duration::ZERO).await;
        assert_eq!(woken.lock().unwrap().last(), Some(&(9, 15)));
    }

    #[tokio::test]
    async fn a_dropped_sleep_leaves_nothing_behind() {
        let clock = ManualClock::new();
        let sleep = tokio::spawn(clock.sleep_until(Moment::NEVER));
        clock.advance(Duration::ZERO).await;
        assert_eq!(clock.next_deadline(), Some(Moment::NEVER));
        sleep.abort();
        assert!(sleep.await.unwrap_err().is_cancelled());
        assert_eq!(clock.next_deadline(), None);
    }
}
