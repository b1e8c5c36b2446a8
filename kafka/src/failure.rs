//! What a cluster did not do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// A request to a cluster that did not succeed. Nothing is assumed about whether it had an effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {detail}")]
pub struct Failure {
    /// What was tried.
    pub operation: &'static str,
    /// What librdkafka or the broker said.
    pub detail: String,
    is_too_large: bool,
}

impl Failure {
    /// A failure of `operation`.
    pub fn new(operation: &'static str, detail: impl std::fmt::Display) -> Self {
        Self { operation, detail: detail.to_string(), is_too_large: false }
    }

    /// A record was not taken, for this reason.
    pub(crate) fn to_produce(code: RDKafkaErrorCode) -> Self {
        let is_too_large = matches!(
            code,
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::MessageBatchTooLarge
        );
        Self { is_too_large, ..Self::new("produce", code) }
    }

    /// Whether a record, or the batch that it was sent in, is larger than its topic takes.
    pub fn is_too_large(&self) -> bool {
        self.is_too_large
    }

    pub(crate) fn of(operation: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |error| match error {
            // Its own text says only that a transaction failed.
            KafkaError::Transaction(error) => Self::new(operation, error.string()),
            error => Self::new(operation, error),
        }
    }
}
