//! No owner token is ever logged. This test has a file of its own, because the logging library keeps
//! one state per process.

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
use lock_memory::{Fault, Faults, MemoryProvider, Verb};

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

#[test]
fn no_owner_token_is_ever_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let mut secrets = Vec::new();
    tracing::subscriber::with_default(subscriber, || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let faults = Faults::new();
            let client = LockClient::new(faults.around(MemoryProvider::new()));
            for fault in [Fault::unavailable(), Fault::LoseAnswer, Fault::Panic] {
                for verb in [Verb::TryAcquire, Verb::Renew, Verb::Release] {
                    faults.next(verb, 1, fault.clone());
                    let guard = client.lock("k").auto_renew().acquire().await.unwrap();
                    secrets.push(guard.owner_token().expose().to_owned());
                    tracing::info!(?guard, token = %guard.owner_token(), "held");
                    tokio::time::sleep(Duration::from_secs(25)).await;
                    if let Err(failed) = guard.release().await {
                        tracing::info!(?failed, "a failed release");
                    }
                    tokio::time::sleep(Duration::from_secs(40)).await;
                    client.run_and_lose(&faults).await;
                }
            }
        });
    });
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for expected in ["acquired", "renewed", "released", "lost", "at risk"] {
        assert!(log.contains(expected), "nothing is logged of `{expected}`");
    }
    assert!(!secrets.is_empty());
    assert!(secrets.iter().all(|secret| !log.contains(secret)), "a token is in the log");
}

trait RunAndLose {
    async fn run_and_lose(&self, faults: &Faults);
}

impl RunAndLose for LockClient {
    async fn run_and_lose(&self, faults: &Faults) {
        faults.next(Verb::Renew, 100, Fault::unavailable());
        let lost = self.lock("lost").run(|_| std::future::pending::<()>()).await.unwrap_err();
        faults.clear();
        tracing::info!(%lost, "lost");
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
}
