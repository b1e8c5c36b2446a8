//! What a producing client says of itself beside the reports.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;

use crate::Report;
use crate::complaint::{Complaint, log};

/// What has been heard, shared by the producer and the callbacks of its client.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) unreachable: AtomicBool,
    pub(crate) fatal: AtomicBool,
    pub(crate) refused: AtomicBool,
    pub(crate) complaint: Complaint,
    /// Reports that come while the client ends, which rdkafka serves itself.
    last: Mutex<Vec<Report>>,
}

/// The context that rdkafka holds.
pub(crate) struct Context(pub(crate) std::sync::Arc<Heard>);

impl Heard {
    pub(crate) fn error(&self, code: RDKafkaErrorCode, reason: &str) {
        match code {
            RDKafkaErrorCode::AllBrokersDown => self.unreachable.store(true, Relaxed),
            RDKafkaErrorCode::Fatal => self.fatal.store(true, Relaxed),
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL => self.refused.store(true, Relaxed),
            _ => {}
        }
        self.complaint.hear(code, reason);
    }

    pub(crate) fn take_last(&self) -> Vec<Report> {
        std::mem::take(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ClientContext for Context {
    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown), reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level as i32, facility, message);
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, token: usize) {
        let (record, result) = match result {
            Ok(record) => (record, Ok(())),
            Err((error, record)) => (record, Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown))),
        };
        let report = Report { token, bytes: record.payload_len(), offset: record.offset(), appended_ms: None, result };
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).push(report);
    }
}
