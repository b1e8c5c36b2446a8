//! The settings of librdkafka, one reason each.

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use crate::config::Kafka;
use crate::forward::Cluster;

/// What a client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends records.
    Send,
    /// Sends records that were refused in company, each in a request of its own.
    SendAlone,
    /// Looks at the cluster.
    Look,
}

/// For every client.
const COMMON: [(&str, &str, &str); 7] = [
    ("client.id", "tapi", "shows up in the brokers' logs and quotas"),
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
];

/// For those that send.
const SENDING: [(&str, &str, &str); 9] = [
    ("acks", "all", "an acknowledged record is on every in-sync replica, or the floor must not move over it"),
    ("enable.idempotence", "true", "retries inside one producer neither double nor reorder"),
    ("compression.codec", "lz4", "a third of the bytes for the least CPU"),
    ("message.timeout.ms", "60000", "the breaker acts long before; this ends what it may not open for"),
    ("message.max.bytes", "4194304", "the topic's own limit decides, not the client's: any record of the buffer fits"),
    ("queue.buffering.max.messages", "0", "the window bounds what is handed over"),
    ("queue.buffering.max.kbytes", "2097151", "the same in bytes"),
    ("topic.metadata.propagation.max.ms", "5000", "a topic that is missing for so long is reported as missing"),
    ("topic.metadata.refresh.interval.ms", "30000", "new leaders are found before a record needs them"),
];

/// The settings of one client: ours, then the operator's properties over them.
pub fn client_config(kafka: &Kafka, cluster: Cluster, role: Role) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Warning);
    let sending: &[_] = if role == Role::Look { &[] } else { &SENDING };
    for (name, value, _) in COMMON.iter().chain(sending) {
        config.set(*name, *value);
    }
    config.set("bootstrap.servers", kafka.brokers(cluster));
    if role != Role::Look {
        config.set("linger.ms", kafka.linger_ms.to_string());
    }
    for (name, value) in kafka.properties(cluster).iter() {
        // A client that only looks gives a warning for each property of a producer.
        if role != Role::Look || !is_for_producers(name) {
            config.set(name, value);
        }
    }
    if role == Role::SendAlone {
        // One record in a request: what it is refused for is its own fault.
        config.set("batch.num.messages", "1").set("linger.ms", "0");
    }
    config
}

/// Whether librdkafka takes the properties of every cluster that has brokers, asked without connecting.
///
/// # Errors
/// The first that it does not know or does not take.
pub fn check(kafka: &Kafka) -> Result<(), super::KafkaError> {
    let used = Cluster::BOTH.into_iter().filter(|cluster| !kafka.brokers(*cluster).is_empty());
    for cluster in used {
        let taken = client_config(kafka, cluster, Role::Send).create_native_config();
        taken.map_err(|error| super::KafkaError::Settings { cluster, message: error.to_string() })?;
    }
    Ok(())
}

fn is_for_producers(name: &str) -> bool {
    ["batch.", "compression.", "linger.", "message.timeout", "queue.buffering.", "delivery."]
        .iter()
        .any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn librdkafka_takes_every_setting() {
        for role in [Role::Send, Role::SendAlone, Role::Look] {
            let config = client_config(&Kafka::default(), Cluster::Primary, role);
            config.create_native_config().unwrap();
        }
    }

    #[test]
    fn the_operators_properties_go_over_ours_but_not_over_what_isolates_a_record() {
        let mut kafka = Kafka::default();
        kafka.properties.set("compression.codec", "zstd");
        kafka.properties.set("batch.num.messages", "5");
        kafka.secondary_properties.set("compression.codec", "none");
        let of = |cluster, role| client_config(&kafka, cluster, role);
        assert_eq!(of(Cluster::Primary, Role::Send).get("compression.codec"), Some("zstd"));
        assert_eq!(of(Cluster::Secondary, Role::Send).get("compression.codec"), Some("none"));
        assert_eq!(of(Cluster::Primary, Role::Send).get("acks"), Some("all"));
        assert_eq!(of(Cluster::Primary, Role::SendAlone).get("batch.num.messages"), Some("1"));
        assert_eq!(of(Cluster::Primary, Role::Look).get("compression.codec"), None);
    }

    #[test]
    fn a_property_that_is_none_is_named() {
        let mut kafka = Kafka::default();
        assert!(check(&kafka).is_ok());
        kafka.secondary_properties.set("no.such.property", "1");
        let said = check(&kafka).unwrap_err().to_string();
        assert!(said.contains("no.such.property") && said.contains("secondary"), "{said}");
        kafka.secondary = String::new();
        assert!(check(&kafka).is_ok(), "there is no secondary");
    }

    #[test]
    fn every_setting_has_a_reason() {
        assert!(COMMON.iter().chain(&SENDING).all(|(_, _, reason)| !reason.is_empty()));
    }
}
