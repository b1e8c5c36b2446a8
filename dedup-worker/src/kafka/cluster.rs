//! A cluster as the settings name it, and the librdkafka settings that everybody who speaks to it shares.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;

/// One Kafka cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Cluster {
    name: &'static str,
    brokers: String,
    properties: BTreeMap<String, String>,
}

impl Cluster {
    /// A cluster called `name` in logs and figures, reached at `brokers` (host:port, separated by commas). `properties`
    /// are handed to librdkafka as they are, and win over everything but what the promises depend on.
    pub fn new(name: &'static str, brokers: impl Into<String>, properties: BTreeMap<String, String>) -> Self {
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
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
    }
}

/// Without the properties, which may hold a password.
impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("name", &self.name).field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_passed_on_and_never_shown() {
        let properties = [("sasl.password", "hunter2"), ("socket.timeout.ms", "7000")];
        let properties = properties.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let cluster = Cluster::new("primary", "127.0.0.1:1", properties);
        assert_eq!(cluster.config().get("sasl.password"), Some("hunter2"));
        assert_eq!(cluster.config().get("socket.timeout.ms"), Some("7000"));
        assert!(!format!("{cluster:?}").contains("hunter2"));
    }
}
