//! A wait without limit for a lock that never expires is logged. This test has a file of its own,
//! because the logging library keeps one state per process.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lock_core::LockClient;
use lock_core::backend::{Attempt, Busy, ProviderInfo, Release};
use lock_testkit::{MockLock, MockLockProvider};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn client(remaining: Option<Duration>) -> LockClient {
    let mut provider = MockLockProvider::new();
    provider.expect_info().return_const(ProviderInfo::new("mock"));
    provider.expect_lock().returning(move |_| {
        let mut lock = MockLock::new();
        lock.expect_try_acquire()
            .returning(move || Ok(Attempt::Held(Busy::new(remaining).contested(true))));
        lock.expect_release().returning(|| Ok(Release::NotHeld));
        Arc::new(lock)
    });
    LockClient::new(provider)
}

#[test]
fn x1_a_wait_for_ever_for_a_foreign_lock_that_never_expires_is_logged_once() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    let warnings = || {
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        log.matches("waiting without limit for a lock of another library that never expires")
            .count()
    };
    tracing::subscriber::with_default(subscriber, || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().build().unwrap();
        runtime.block_on(async {
            let wait = Duration::from_millis(300);
            let bounded = client(None).lock("k").wait_at_most(wait).acquire().await;
            assert!(bounded.unwrap_err().is_timed_out());
            let expires = client(Some(wait)).lock("k").wait_forever().acquire();
            assert!(tokio::time::timeout(wait, expires).await.is_err());
            assert_eq!(warnings(), 0, "these waits have an end");
            let endless = client(None).lock("k").wait_forever().acquire();
            assert!(tokio::time::timeout(wait, endless).await.is_err());
            assert_eq!(warnings(), 1);
        });
    });
}
