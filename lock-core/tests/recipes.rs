//! The recipes of the README for "only one of N replicas", and what goes wrong without them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lock_core::LockClient;
use lock_memory::MemoryProvider;
use tokio::time::{sleep, timeout};

/// Starts three replicas, two seconds apart, and counts how often the job was done.
async fn done<F: Future<Output = lock_core::Result<()>> + Send + 'static>(
    replica: impl Fn(LockClient, Job) -> F,
) -> usize {
    let (locks, job) = (LockClient::new(MemoryProvider::new()), Job::default());
    let replicas: Vec<_> = (0..3)
        .map(|number| {
            let replica = replica(locks.clone(), job.clone());
            tokio::spawn(async move {
                sleep(Duration::from_secs(2 * number)).await;
                replica.await.unwrap();
            })
        })
        .collect();
    for replica in replicas {
        replica.await.unwrap();
    }
    job.0.load(Ordering::SeqCst)
}

/// A job of three seconds.
#[derive(Clone, Default)]
struct Job(Arc<AtomicUsize>);

impl Job {
    async fn run(&self) {
        sleep(Duration::from_secs(3)).await;
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(start_paused = true)]
async fn replicas_that_wait_do_the_job_one_after_the_other() {
    let all =
        done(
            |locks, job| async move { locks.lock("job").run(|_| async { job.run().await }).await },
        );
    assert_eq!(all.await, 3);
    let some = done(|locks, job| async move {
        match locks.lock("job").no_wait().run(|_| async { job.run().await }).await {
            Err(error) if error.is_held_by_another() => Ok(()),
            other => other,
        }
    });
    assert_eq!(some.await, 2, "the third starts after the first has released");
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_left_to_its_ttl_does_the_job_once_per_period() {
    let once = done(|locks, job| async move {
        let day = Duration::from_secs(24 * 60 * 60);
        match locks.lock("job/2026-12-01").ttl(day).try_acquire().await {
            Ok(guard) => guard.forget(),
            Err(error) if error.is_held_by_another() => return Ok(()),
            Err(error) => return Err(error),
        }
        job.run().await;
        Ok(())
    });
    assert_eq!(once.await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_lock_for_as_long_as_a_replica_lives_leaves_one_active_and_another_takes_over() {
    let (locks, active) = (LockClient::new(MemoryProvider::new()), Arc::new(AtomicUsize::new(0)));
    let replica = || {
        let (locks, active) = (locks.clone(), Arc::clone(&active));
        tokio::spawn(async move {
            let work = async |_| {
                assert_eq!(active.fetch_add(1, Ordering::SeqCst), 0, "two are active");
                sleep(Duration::from_secs(100)).await;
                active.fetch_sub(1, Ordering::SeqCst);
            };
            locks.lock("active").wait_forever().run(work).await.unwrap();
        })
    };
    let replicas = [replica(), replica(), replica()];
    let long = Duration::from_secs(301);
    timeout(long, async {
        for replica in replicas {
            replica.await.unwrap();
        }
    })
    .await
    .expect("each takes over when the one before has ended");
}

#[tokio::test(start_paused = true)]
async fn a_recorded_success_does_the_job_once_even_if_a_replica_crashes() {
    let (locks, job) = (LockClient::new(MemoryProvider::new()), Job::default());
    let is_done = Arc::new(AtomicUsize::new(0));
    let replica = || {
        let (locks, job, is_done) = (locks.clone(), job.clone(), Arc::clone(&is_done));
        tokio::spawn(async move {
            let work = async |_| {
                if is_done.load(Ordering::SeqCst) == 0 {
                    job.run().await;
                    is_done.store(1, Ordering::SeqCst);
                }
            };
            locks.lock("job/2026-12-01").wait_forever().run(work).await.unwrap();
        })
    };
    let crashing = replica();
    sleep(Duration::from_secs(1)).await;
    let others = [replica(), replica()];
    crashing.abort();
    for other in others {
        other.await.unwrap();
    }
    assert_eq!(job.0.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn another_replica_takes_over_when_the_ttl_of_a_dead_one_has_passed() {
    let (locks, ttl) = (LockClient::new(MemoryProvider::new()), Duration::from_secs(10));
    locks.lock("active").ttl(ttl).acquire().await.unwrap().forget(); // its process has died
    let began = tokio::time::Instant::now();
    locks.lock("active").ttl(ttl).wait_forever().run(async |_| {}).await.unwrap();
    assert!(began.elapsed() >= ttl && began.elapsed() < ttl * 2, "{:?}", began.elapsed());
}
