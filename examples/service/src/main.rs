//! A web service with a lock per invoice, and a database that refuses stale writers.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example talks to its reader")]

mod app;
mod config;
mod ledger;
mod metrics;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use lock_core::CancellationToken;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::app::App;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::metrics::Metrics;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/service.toml");

#[tokio::main]
async fn main() -> ExitCode {
    match serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> Result<(), Box<dyn Error>> {
    let file = std::env::args_os().nth(1).map_or_else(|| FILE.into(), PathBuf::from);
    let config = Config::read(&file)?;
    let metrics = Arc::new(Metrics::default());
    let locks = config.connect(&metrics).await?;
    let app = App {
        locks: locks.clone(),
        ledger: Arc::new(Ledger::open(&config.database)?),
        metrics,
        shutdown: CancellationToken::new(),
    };
    let listener = TcpListener::bind(&config.address).await?;
    println!("listening on http://{}, locks on {}", listener.local_addr()?, locks.info().name());

    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = app.shutdown.clone();
    axum::serve(listener, app::router(app))
        .with_graceful_shutdown(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            stop.cancel();
        })
        .await?;
    // Releases of guards that were dropped, and events that the observer has not received.
    if tokio::time::timeout(Duration::from_secs(5), locks.drain()).await.is_err() {
        eprintln!("some keys stay locked until their ttl ends");
    }
    println!("stopped, {} locks held", locks.counts().held);
    Ok(())
}
