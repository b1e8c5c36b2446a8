//! One producer and what it holds.

use std::time::{Duration, Instant};

use kafka::{Producer, Sending};
use tracing::error;

use super::progress::Progress;
use crate::forward::error::DrainError;

/// One producer and what it holds.
#[derive(Debug)]
pub(crate) struct Line {
    cluster: kafka::Cluster,
    sending: Sending,
    /// Made when it is first needed, and again after the last one failed for good.
    producer: Option<Producer>,
    /// What it holds, by track.
    pub progress: Progress,
}

impl Line {
    /// To a cluster, which is not connected to yet. `limit` is how long a lane may make no progress.
    pub(super) fn new(cluster: kafka::Cluster, sending: Sending, limit: Duration, now: Instant) -> Self {
        Self { cluster, sending, producer: None, progress: Progress::new(limit, now) }
    }

    /// Begins to connect.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting.
    pub(super) fn connect(&mut self) -> Result<(), DrainError> {
        self.producer = Some(Producer::new(&self.cluster, self.sending)?);
        Ok(())
    }

    /// The producer, if there is one.
    pub(crate) fn existing(&self) -> Option<&Producer> {
        self.producer.as_ref()
    }

    /// The producer, made if need be; `None` where that fails.
    pub(crate) fn producer(&mut self) -> Option<&Producer> {
        if self.producer.is_none() {
            match Producer::new(&self.cluster, self.sending) {
                Ok(producer) => self.producer = Some(producer),
                Err(error) => error!(%error, "a Kafka producer cannot be made; it is tried again"),
            }
        }
        self.producer.as_ref()
    }

    /// Its next producers send so; whether the one that is there does not.
    pub(super) fn sends(&mut self, sending: Sending) -> bool {
        std::mem::replace(&mut self.sending, sending) != sending && self.producer.is_some()
    }

    /// Takes the producer away.
    pub(super) fn take(&mut self) -> Option<Producer> {
        self.producer.take()
    }
}
