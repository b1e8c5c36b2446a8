//! What a client says of itself beside the reports.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;
use rdkafka::message::Message as _;
use rdkafka::producer::{DeliveryResult, ProducerContext};
use rdkafka::types::RDKafkaErrorCode;
use tracing::{debug, warn};

use crate::Report;

/// Longest text of an error that is kept, characters.
const ERROR_CHARS_MAX: usize = 300;

/// What has been heard, shared by the producer and the callbacks of its client.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) unreachable: AtomicBool,
    pub(crate) fatal: AtomicBool,
    pub(crate) refused: AtomicBool,
    error: Mutex<String>,
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
        let mut error = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        // "1/1 brokers are down" follows the reason for it, and says less.
        if error.is_empty() || code != RDKafkaErrorCode::AllBrokersDown {
            *error = reason.chars().take(ERROR_CHARS_MAX).collect();
        }
        debug!(%code, reason, "kafka client");
    }

    pub(crate) fn last_error(&self) -> String {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn take_last(&self) -> Vec<Report> {
        std::mem::take(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Logs a line of librdkafka's, with a level as syslog counts them. What matters comes as an error, a report or a silence, and is logged by whoever it means
/// something to.
pub(crate) fn log(level: i32, facility: &str, message: &str) {
    if level <= RDKafkaLogLevel::Critical as i32 {
        warn!(facility, message, "kafka client");
    } else {
        debug!(facility, message, "kafka client");
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
        let (offset, result) = match result {
            Ok(record) => (record.offset(), Ok(())),
            Err((error, record)) => {
                (record.offset(), Err(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown)))
            }
        };
        let report = Report { token, offset, result };
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).push(report);
    }
}
