//! A cluster as the settings name it, and the librdkafka settings that everybody who speaks to it shares.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use service::Properties;

use crate::Failure;
use crate::failure::said;

/// For every client: name, value, why.
const COMMON: [(&str, &str, &str); 7] = [
    ("socket.timeout.ms", "10000", "a frozen broker keeps its connection for a minute otherwise"),
    ("socket.connection.setup.timeout.ms", "5000", "the same for one that does not finish a handshake"),
    ("socket.keepalive.enable", "true", "a firewall's forgotten connection is found while idle"),
    ("reconnect.backoff.ms", "50", "a broker that is back is used at once"),
    (
        "reconnect.backoff.max.ms",
        "500",
        "at the default of 10 s recovery was measured to take 10 s, here half a second",
    ),
    ("log.connection.close", "false", "brokers close idle connections; that is no news"),
    (
        "allow.auto.create.topics",
        "false",
        "a broker that may makes a missing topic with its own number of partitions and retention; a producer asks for that",
    ),
];

/// For those that send.
const SENDING: [(&str, &str, &str); 9] = [
    ("acks", "all", "an acknowledged record is on every in-sync replica, or the floor must not move over it"),
    ("enable.idempotence", "true", "retries inside one producer neither double nor reorder"),
    ("compression.codec", "lz4", "a third of the bytes for the least CPU"),
    (
        "message.timeout.ms",
        "30000",
        "what a partition holds that was left out goes to another one then; long enough for a new leader and a repeat of a \
         request, and each time-out makes librdkafka begin a new epoch, for which all partitions pause",
    ),
    ("message.max.bytes", "4194304", "the topic's own limit decides, not the client's: any record of the buffer fits"),
    ("queue.buffering.max.messages", "0", "the window bounds what is handed over"),
    ("queue.buffering.max.kbytes", "2097151", "the same in bytes"),
    ("topic.metadata.propagation.max.ms", "5000", "a topic that is missing for so long is reported as missing"),
    (
        "topic.metadata.refresh.interval.ms",
        "5000",
        "new leaders are found before a record needs them, and partitions that a topic has grown by before they are used",
    ),
];

/// Properties that only producers have: any other client gives a warning for each.
const OF_PRODUCERS: [&str; 6] =
    ["batch.", "compression.", "linger.", "message.timeout", "queue.buffering.", "delivery."];

/// One Kafka cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    program: &'static str,
    name: &'static str,
    brokers: String,
    properties: Properties,
}

/// Bytes that librdkafka sends together to one partition where nothing else is said.
pub const BATCH_BYTES: usize = 1_000_000;

/// How a [`Producer`](crate::Producer) sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// Records wait for others to be sent with, so many milliseconds at most.
    Together {
        /// From 0 to librdkafka's bound of 900,000.
        linger_ms: u64,
        /// Bytes of those that are sent together to one partition, at most, before they are compressed: what its topic takes at
        /// once, less a few hundred. A record that is larger is sent alone. The operator's own bound holds where it is smaller.
        batch_bytes: usize,
    },
    /// Each record in a request of its own: what it is refused for is its own fault.
    Alone,
}

impl Cluster {
    /// A cluster called `name` in logs and figures, reached at `brokers` (host:port, separated by commas; empty is no
    /// cluster) by `program`, which its brokers see in their logs and quotas. `properties` are handed to librdkafka as
    /// they are, and win over everything but what the promises depend on.
    pub fn new(program: &'static str, name: &'static str, brokers: impl Into<String>, properties: Properties) -> Self {
        Self { program, name, brokers: brokers.into(), properties }
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the settings name any broker of it.
    pub fn is_configured(&self) -> bool {
        !self.brokers.is_empty()
    }

    /// Whether these are the same brokers, spoken to in the same way, whatever the cluster is called.
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.brokers, &self.properties) == (&other.brokers, &other.properties)
    }

    /// What deserves a second look in its properties, as a sentence.
    pub fn warning(&self) -> Option<String> {
        self.properties.warning().map(|warning| format!("{} cluster: {warning}", self.name))
    }

    /// Whether librdkafka takes the properties, asked without connecting.
    ///
    /// # Errors
    /// The first that it does not know or does not take.
    pub fn check(&self) -> Result<(), Failure> {
        let operation = "take the Kafka properties";
        let fail = |error| Failure::new(operation, format!("of the {} cluster: {}", self.name, said(&error)));
        self.client(true).create_native_config().map(drop).map_err(fail)
    }

    /// What every client begins with that does not produce.
    pub(crate) fn config(&self) -> ClientConfig {
        self.client(false)
    }

    /// What a producer in a transaction begins with.
    pub(crate) fn producing(&self) -> ClientConfig {
        self.client(true)
    }

    /// What a producer without transactions has: ours, then the operator's properties over them.
    pub fn sending(&self, sending: Sending) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (name, value, _) in SENDING {
            config.set(name, value);
        }
        if let Sending::Together { linger_ms, .. } = sending {
            config.set("linger.ms", linger_ms.to_string());
        }
        self.add(&mut config, true);
        match sending {
            Sending::Alone => drop(config.set("batch.num.messages", "1").set("linger.ms", "0")),
            Sending::Together { batch_bytes, .. } => {
                let given = config.get("batch.size").and_then(|given| given.parse().ok());
                config.set("batch.size", batch_bytes.min(given.unwrap_or(BATCH_BYTES)).to_string());
            }
        }
        config
    }

    fn client(&self, produces: bool) -> ClientConfig {
        let mut config = ClientConfig::new();
        self.add(&mut config, produces);
        config
    }

    fn add(&self, config: &mut ClientConfig, produces: bool) {
        config.set_log_level(RDKafkaLogLevel::Warning);
        for (name, value, _) in COMMON {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.brokers).set("client.id", self.program);
        let is_for_producers = |name: &str| OF_PRODUCERS.iter().any(|prefix| name.starts_with(prefix));
        for (name, value) in self.properties.iter().filter(|(name, _)| produces || !is_for_producers(name)) {
            config.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOGETHER: Sending = Sending::Together { linger_ms: 20, batch_bytes: 3_488 };

    fn cluster(pairs: &[(&str, &str)]) -> Cluster {
        Cluster::new("tapi", "primary", "127.0.0.1:1", pairs.iter().copied().collect())
    }

    #[test]
    fn properties_are_passed_on_checked_and_never_shown() {
        let secret = cluster(&[("sasl.password", "hunter2"), ("socket.timeout.ms", "7000")]);
        assert_eq!(secret.config().get("sasl.password"), Some("hunter2"));
        assert_eq!(secret.config().get("socket.timeout.ms"), Some("7000"));
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.check(), Ok(()));
        let said = cluster(&[("no.such.property", "hunter2")]).check().unwrap_err().to_string();
        assert!(said.contains("no.such.property") && said.contains("primary") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn librdkafka_takes_every_setting() {
        let plain = cluster(&[]);
        for config in [plain.config(), plain.producing(), plain.sending(TOGETHER), plain.sending(Sending::Alone)] {
            config.create_native_config().unwrap();
        }
    }

    #[test]
    fn the_operators_properties_go_over_ours_but_not_over_what_isolates_a_record() {
        let of = |pairs: &[(&str, &str)]| cluster(pairs);
        let zstd = of(&[("compression.codec", "zstd"), ("batch.num.messages", "5")]);
        assert_eq!(zstd.sending(TOGETHER).get("compression.codec"), Some("zstd"));
        assert_eq!(zstd.sending(TOGETHER).get("acks"), Some("all"));
        assert_eq!(zstd.sending(TOGETHER).get("linger.ms"), Some("20"));
        assert_eq!(zstd.sending(Sending::Alone).get("batch.num.messages"), Some("1"));
        assert_eq!(zstd.sending(TOGETHER).get("batch.size"), Some("3488"));
        assert_eq!(of(&[("batch.size", "2000")]).sending(TOGETHER).get("batch.size"), Some("2000"));
        assert_eq!(of(&[("batch.size", "9000000")]).sending(TOGETHER).get("batch.size"), Some("3488"));
        assert_eq!(zstd.config().get("compression.codec"), None, "a client that only looks");
        assert_eq!(of(&[("compression.codec", "none")]).sending(TOGETHER).get("compression.codec"), Some("none"));
    }

    #[test]
    fn a_cluster_is_the_same_by_its_brokers_and_properties_and_not_by_its_name() {
        let named = |name, brokers: &str| Cluster::new("tapi", name, brokers, Properties::default());
        assert!(named("primary", "a:1").is_same(&named("output", "a:1")));
        assert!(!named("primary", "a:1").is_same(&named("primary", "b:1")));
        assert!(!cluster(&[("socket.timeout.ms", "7000")]).is_same(&cluster(&[])));
    }

    #[test]
    fn every_setting_has_a_reason() {
        assert!(COMMON.iter().chain(&SENDING).all(|(_, _, reason)| !reason.is_empty()));
    }
}
