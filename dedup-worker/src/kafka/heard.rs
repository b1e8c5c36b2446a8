//! What librdkafka said of its connections, for whoever has to tell why a cluster does not answer.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use service::Properties;

use super::KafkaFailure;

/// Remembers a client's last complaint. A timeout alone says nothing of a wrong password.
#[derive(Debug, Default)]
pub struct Heard(Mutex<String>);

impl Heard {
    /// The failure, with what was heard and what to do about it.
    pub(super) fn explain(&self, mut failure: KafkaFailure) -> KafkaFailure {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !heard.is_empty() {
            let advice = Properties::advice(&heard).map(|advice| format!("; {advice}")).unwrap_or_default();
            failure.detail = format!("{} ({heard}{advice})", failure.detail);
        }
        failure
    }
}

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "librdkafka");
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // "1/1 brokers are down" follows the reason for it, and says less.
        if heard.is_empty() || error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            reason.clone_into(&mut heard);
        }
    }

    fn log(&self, level: RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!(message, "librdkafka");
        if matches!(
            level,
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical | RDKafkaLogLevel::Error
        ) {
            message.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl ConsumerContext for Heard {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_explained_by_the_last_complaint() {
        let heard = Heard::default();
        let failure = || KafkaFailure::new("ask for a topic", "timed out");
        assert_eq!(heard.explain(failure()), failure());
        heard.log(RDKafkaLogLevel::Warning, "", "a detail");
        assert_eq!(heard.explain(failure()), failure());
        heard.log(RDKafkaLogLevel::Error, "FAIL", "SASL authentication error: no");
        heard.error(KafkaError::Global(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        let said = heard.explain(failure()).to_string();
        assert!(said.contains("SASL authentication error: no") && said.contains("sasl.password"), "{said}");
    }
}
