//! Random schedules against the model.

use crate::{Subject, property};

/// Random schedules of acquire, renew, release, expiry and passing time by several owners answer as
/// the reference model does.
pub async fn random_schedules_match_the_model(subject: &Subject) {
    property::random_schedules(subject).await;
}
