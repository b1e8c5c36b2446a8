//! What a cluster did not do.

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaConfRes;

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
        move |error| Self::new(operation, said(&error))
    }
}

/// What an error says, without the values of properties: passwords are among them.
pub(crate) fn said(error: &KafkaError) -> String {
    match error {
        // Its own text says only that a transaction failed.
        KafkaError::Transaction(error) => error.string(),
        KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, _, name, _) => {
            format!("there is no property {name:?}")
        }
        KafkaError::ClientConfig(_, _, name, _) => format!("the property {name:?} has a value that it cannot have"),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::ClientConfig;

    use super::*;

    #[test]
    fn the_value_of_a_property_is_never_said() {
        for (name, says) in [
            ("sasl.pasword", "there is no property"),
            ("security.protocol", "cannot have"),
            ("linger.ms", "cannot have"),
            ("enable.idempotence", "cannot have"),
            ("message.max.bytes", "cannot have"),
        ] {
            let error = ClientConfig::new().set(name, "hush").create_native_config().map(drop).unwrap_err();
            let said = Failure::of("configure")(error).to_string();
            assert!(said.contains(says) && said.contains(name) && !said.contains("hush"), "{said}");
        }
    }
}
