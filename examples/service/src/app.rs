//! The HTTP interface: a lock around reading and writing an invoice.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use lock_core::{CancellationToken, ErrorKind, Lease, LockClient, LockKey};

use crate::ledger::{self, Ledger, Stale};
use crate::metrics::Metrics;

/// What the handlers share.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) locks: LockClient,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) metrics: Arc<Metrics>,
    /// Cancelled when the service shuts down.
    pub(crate) shutdown: CancellationToken,
}

pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/invoices/{id}", get(read))
        .route("/invoices/{id}/charge/{cents}", post(charge))
        .route("/metrics", get(metrics))
        .with_state(app)
}

async fn read(State(app): State<App>, Path(id): Path<String>) -> Result<Json<i64>, Failure> {
    blocking(move || app.ledger.read(&id)).await.map(Json)
}

async fn metrics(State(app): State<App>) -> String {
    app.metrics.text(&app.locks)
}

/// Longer than the database may take, so that no write is under way when its work is dropped.
const GRACE: Duration = Duration::from_secs(2 * ledger::PATIENCE.as_secs());

/// Adds to an invoice. If two requests read the same sum, one of the charges is lost. So a lock
/// goes around reading and writing, in whichever process they run.
async fn charge(
    State(app): State<App>,
    Path((id, cents)): Path<(String, i64)>,
) -> Result<Json<i64>, Failure> {
    if cents <= 0 {
        return Err(Failure::Request("charge a positive number of cents"));
    }
    let key = LockKey::new(format!("invoice/{id}"))
        .map_err(|_| Failure::Request("the id of an invoice is short and printable"))?;
    let work = async |lease: Lease| {
        // The store was required to have fencing, so there always is a token.
        let no_token = || Failure::Ledger("the store of locks has no fencing".into());
        let token = lease.fencing_token().ok_or_else(no_token)?;
        let (ledger, of) = (Arc::clone(&app.ledger), id.clone());
        let sum = blocking(move || ledger.read(&of)).await?.checked_add(cents);
        let sum = sum.ok_or(Failure::Request("the invoice would be too large"))?;
        let (ledger, of) = (Arc::clone(&app.ledger), id.clone());
        blocking(move || ledger.write(&of, sum, token)).await??;
        Ok(Json(sum))
    };
    app.locks
        .lock(key)
        .cancelled_by(app.shutdown.clone()) // stop waiting when the service shuts down, …
        .grace(GRACE) // … and let the work that has begun come to its end
        .run(work)
        .await?
}

/// SQLite blocks, so it runs on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> rusqlite::Result<T> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::Ledger(error.to_string()))?
        .map_err(|error| Failure::Ledger(error.to_string()))
}

/// Why a request failed.
#[derive(Debug)]
pub(crate) enum Failure {
    Lock(lock_core::Error),
    /// The request makes no sense.
    Request(&'static str),
    /// Another process has taken the lock over and has written.
    Stale,
    Ledger(String),
}

impl From<lock_core::Error> for Failure {
    fn from(error: lock_core::Error) -> Self {
        Self::Lock(error)
    }
}

impl From<Stale> for Failure {
    fn from(_: Stale) -> Self {
        Self::Stale
    }
}

impl IntoResponse for Failure {
    /// As the page of [`ErrorKind`] advises. Details are for the log, not for the client.
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Lock(error) if error.is_held_by_another() => {
                // The holder may release long before its lease ends.
                let seconds = error.remaining().map_or(1, |left| (left.as_secs() + 1).min(5));
                let after = [(header::RETRY_AFTER, seconds.to_string())];
                return (StatusCode::CONFLICT, after, "the invoice is busy\n").into_response();
            }
            Self::Lock(error) => {
                eprintln!("error: {error:#}");
                match error.kind() {
                    ErrorKind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "try again"),
                    // An error of the acquisition, so the work has not begun.
                    ErrorKind::Cancelled if error.operation().is_some() => {
                        (StatusCode::SERVICE_UNAVAILABLE, "shutting down, try again")
                    }
                    _ => (StatusCode::INTERNAL_SERVER_ERROR, "look at the invoice, then try again"),
                }
            }
            Self::Request(why) => (StatusCode::BAD_REQUEST, why),
            Self::Stale => (StatusCode::CONFLICT, "another process has taken over"),
            Self::Ledger(error) => {
                eprintln!("error: {error}");
                (StatusCode::INTERNAL_SERVER_ERROR, "the ledger has failed")
            }
        };
        (status, format!("{text}\n")).into_response()
    }
}
