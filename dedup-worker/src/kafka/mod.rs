//! Kafka as the worker needs it: what a cluster is, what a topic is, one partition read in order, one transaction.
//!
//! Everything that is said to librdkafka is said here, with the reason beside it.

mod cluster;
mod facts;
mod headers;
mod heard;
mod log;
mod members;
mod producer;
mod settings;

pub use cluster::Cluster;
pub use facts::{Probe, TopicFacts, Watermarks};
pub use headers::headers;
pub use heard::Heard;
pub use log::{Isolation, LogReader, Read};
pub use members::Member;
pub use producer::{Delivered, Kind, Outgoing, Producer};
pub use settings::TopicSettings;

use rdkafka::error::KafkaError;

/// A request to a cluster that did not succeed. Nothing is assumed about whether it had an effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation}: {detail}")]
pub struct KafkaFailure {
    /// What was tried.
    pub operation: &'static str,
    /// What librdkafka or the broker said.
    pub detail: String,
}

impl KafkaFailure {
    pub(crate) fn new(operation: &'static str, detail: impl std::fmt::Display) -> Self {
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
