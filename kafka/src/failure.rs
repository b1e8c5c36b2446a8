//! What a cluster did not do.

use rdkafka::error::KafkaError;

/// A request to a cluster that did not succeed. Nothing is assumed about whether it had an effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {detail}")]
pub struct Failure {
    /// What was tried.
    pub operation: &'static str,
    /// What librdkafka or the broker said.
    pub detail: String,
}

impl Failure {
    /// A failure of `operation`.
    pub fn new(operation: &'static str, detail: impl std::fmt::Display) -> Self {
        Self { operation, detail: detail.to_string() }
    }

    pub(crate) fn of(operation: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |error| match error {
            // Its own text says only that a transaction failed.
            KafkaError::Transaction(error) => Self::new(operation, error.string()),
            error => Self::new(operation, error),
        }
    }
}
