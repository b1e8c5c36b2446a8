//! What librdkafka said of its connections, for whoever has to tell why a cluster does not answer.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use service::Properties;
use tracing::{debug, warn};

use crate::Failure;

/// Longest text that is kept, characters.
const CHARS_MAX: usize = 300;

/// A client's last complaint. A timeout alone says nothing of a wrong password.
#[derive(Debug, Default)]
pub(crate) struct Complaint(Mutex<String>);

impl Complaint {
    /// Remembers what an error was explained with.
    pub(crate) fn hear(&self, code: RDKafkaErrorCode, reason: &str) {
        debug!(%code, reason, "librdkafka");
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // "1/1 brokers are down" follows the reason for it, and says less.
        if last.is_empty() || code != RDKafkaErrorCode::AllBrokersDown {
            *last = reason.chars().take(CHARS_MAX).collect();
        }
    }

    /// The last one; empty where there was none.
    pub(crate) fn last(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The failure, with what was heard and what to do about it.
    pub(crate) fn explain(&self, mut failure: Failure) -> Failure {
        let heard = self.last();
        if !heard.is_empty() {
            let advice = Properties::advice(&heard).map(|advice| format!("; {advice}")).unwrap_or_default();
            failure.detail = format!("{} ({heard}{advice})", failure.detail);
        }
        failure
    }
}

/// Logs a line of librdkafka's, with a level as syslog counts them. What matters comes as an error, a report or a
/// silence, and is logged by whoever it means something to.
pub(crate) fn log(level: i32, facility: &str, message: &str) {
    if level <= RDKafkaLogLevel::Critical as i32 {
        warn!(facility, message, "librdkafka");
    } else {
        debug!(facility, message, "librdkafka");
    }
}

/// The context of a client that asks and reads nothing.
#[derive(Debug, Default)]
pub(crate) struct Asking {
    pub(crate) complaint: Complaint,
    /// No broker could be reached, the last time anything was heard of it.
    pub(crate) is_unreachable: AtomicBool,
}

impl ClientContext for Asking {
    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Unknown);
        if code == RDKafkaErrorCode::AllBrokersDown {
            self.is_unreachable.store(true, Relaxed);
        }
        self.complaint.hear(code, reason);
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log(level as i32, facility, message);
        if level as i32 <= RDKafkaLogLevel::Error as i32 {
            self.complaint.hear(RDKafkaErrorCode::Unknown, message);
        }
    }
}

impl ConsumerContext for Asking {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_explained_by_the_last_complaint() {
        let asking = Asking::default();
        let failure = || Failure::new("ask for a topic", "timed out");
        assert_eq!(asking.complaint.explain(failure()), failure());
        asking.log(RDKafkaLogLevel::Warning, "", "a detail");
        assert_eq!(asking.complaint.explain(failure()), failure());
        asking.log(RDKafkaLogLevel::Error, "FAIL", "SASL authentication error: no");
        asking.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        let said = asking.complaint.explain(failure()).to_string();
        assert!(said.contains("SASL authentication error: no") && said.contains("sasl.password"), "{said}");
        assert!(asking.is_unreachable.load(Relaxed));
    }
}
