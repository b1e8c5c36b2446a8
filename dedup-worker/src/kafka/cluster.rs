//! A cluster as the settings name it, and the librdkafka settings that everybody who speaks to it shares.

use rdkafka::ClientConfig;
use service::Properties;

use super::KafkaFailure;

/// One Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    name: &'static str,
    brokers: String,
    properties: Properties,
}

impl Cluster {
    /// A cluster called `name` in logs and figures, reached at `brokers` (host:port, separated by commas). `properties`
    /// are handed to librdkafka as they are, and win over everything but what the promises depend on.
    pub fn new(name: &'static str, brokers: impl Into<String>, properties: Properties) -> Self {
        Self { name, brokers: brokers.into(), properties }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The settings every client begins with.
    pub(crate) fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "dedup-worker")
            // With librdkafka's ten seconds a cluster that is back is found ten seconds late.
            .set("reconnect.backoff.max.ms", "500")
            // A frozen broker answers nothing; with librdkafka's minute nobody would notice for a minute.
            .set("socket.timeout.ms", "10000")
            .set("log.connection.close", "false");
        for (key, value) in self.properties.iter() {
            config.set(key, value);
        }
        config
    }

    /// What deserves a second look in its properties, as a sentence.
    pub fn warning(&self) -> Option<String> {
        self.properties.warning().map(|warning| format!("{} cluster: {warning}", self.name))
    }

    /// Whether librdkafka takes the properties, asked without connecting.
    ///
    /// # Errors
    /// The first that it does not know or does not take.
    pub fn check(&self) -> Result<(), KafkaFailure> {
        let operation = "take the Kafka properties";
        let fail = |error| KafkaFailure::new(operation, format!("of the {} cluster: {error}", self.name));
        self.config().create_native_config().map(drop).map_err(fail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_passed_on_checked_and_never_shown() {
        let cluster = |pairs: &[(&str, &str)]| Cluster::new("primary", "127.0.0.1:1", pairs.iter().copied().collect());
        let secret = cluster(&[("sasl.password", "hunter2"), ("socket.timeout.ms", "7000")]);
        assert_eq!(secret.config().get("sasl.password"), Some("hunter2"));
        assert_eq!(secret.config().get("socket.timeout.ms"), Some("7000"));
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.check(), Ok(()));
        let said = cluster(&[("no.such.property", "1")]).check().unwrap_err().to_string();
        assert!(said.contains("no.such.property") && said.contains("primary"), "{said}");
    }
}
