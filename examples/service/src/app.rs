//! The HTTP interface: a lock around reading and writing an invoice.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use lock_core::{CancellationToken, ErrorKind, Lease, LockClient};

use crate::ledger::{Ledger, Stale};
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

/// Adds to an invoice. Two requests that read the same sum would lose one of the charges, so a lock
/// goes around both steps, in whichever process they run.
async fn charge(
    State(app): State<App>,
    Path((id, cents)): Path<(String, i64)>,
) -> Result<Json<i64>, Failure> {
    let work = async |lease: Lease| {
        // The store was required to have fencing, so there always is a token.
        let token = lease.fencing_token().ok_or(Failure::Stale)?;
        let (ledger, of) = (Arc::clone(&app.ledger), id.clone());
        let sum = blocking(move || ledger.read(&of)).await? + cents;
        let (ledger, of) = (Arc::clone(&app.ledger), id.clone());
        blocking(move || ledger.write(&of, sum, token)).await??;
        Ok(Json(sum))
    };
    app.locks
        .lock(format!("invoice/{id}"))
        .cancelled_by(app.shutdown.clone()) // stop waiting when the service shuts down, …
        .grace(Duration::from_secs(1)) // … and let the work that has begun come to its end
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
    /// As the page of [`ErrorKind`] advises.
    fn into_response(self) -> Response {
        let (status, text) = match self {
            Self::Lock(error) if error.is_held_by_another() => {
                let seconds = error.remaining().map_or(1, |left| left.as_secs() + 1);
                let after = [(header::RETRY_AFTER, seconds.to_string())];
                return (StatusCode::CONFLICT, after, format!("{error}\n")).into_response();
            }
            Self::Lock(error) => {
                let status = match error.kind() {
                    ErrorKind::Unavailable | ErrorKind::Cancelled => {
                        StatusCode::SERVICE_UNAVAILABLE
                    }
                    ErrorKind::Invalid => StatusCode::BAD_REQUEST, // the id is part of the key
                    _ => StatusCode::INTERNAL_SERVER_ERROR,
                };
                (status, format!("{error:#}"))
            }
            Self::Stale => (StatusCode::CONFLICT, "another process has taken over".to_owned()),
            Self::Ledger(error) => (StatusCode::INTERNAL_SERVER_ERROR, error),
        };
        (status, format!("{text}\n")).into_response()
    }
}
