//! The settings of the drain: where the two clusters are, and when to leave one for the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use service::config::Unresolved;
use service::{Problem, Properties};
use wire::limits::LANES_MAX;
use wire::topic::{EVENTS_RETENTION_MIN, Retention};
use wire::{LaneCount, Window};

use super::breaker::Breaker;
use crate::forward::{Bounds, Cluster, Plan};

/// A window larger than this is a buffer of its own.
const WINDOW_BYTES_MAX: usize = 1 << 30;
/// One batch of the buffer, at least.
const WINDOW_BYTES_MIN: usize = 4 << 20;
/// A window of more records than librdkafka's queues are good for.
const WINDOW_RECORDS_MAX: usize = 1_000_000;
/// Longer pauses are outages.
const MILLISECONDS_MAX: u64 = 3_600_000;
/// Properties that would break a promise, and what to do instead.
const FORBIDDEN: [(&str, &str); 8] = [
    ("bootstrap.servers", "set primary and secondary"),
    ("metadata.broker.list", "set primary and secondary"),
    ("acks", "it is all, or acknowledged events are lost"),
    ("request.required.acks", "it is all, or acknowledged events are lost"),
    ("enable.idempotence", "it is on"),
    ("transactional.id", "the drain needs no transactions"),
    ("linger.ms", "set linger_ms"),
    ("allow.auto.create.topics", "a topic is made by whoever knows how it must be set"),
];

/// The drain to Kafka.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Kafka {
    /// Brokers of the cluster that gets everything while it can, `host:port` with commas between. Default
    /// `127.0.0.1:19092`.
    pub primary: String,
    /// Brokers of the cluster that gets everything while the primary cannot. Default `127.0.0.1:29092`; empty is none.
    pub secondary: String,
    /// `primary` or `secondary` to use that one alone whatever happens. Default empty: by itself. `POST /kafka/pin` on
    /// the admin port changes it until the restart.
    pub pin: String,
    /// How many lanes there are. Default 0: what the genesis in `events.index` says, or while that topic is empty the number
    /// of its partitions. Set it where that topic may not be read.
    pub lanes: u32,
    /// Time a record waits for others to be sent with, milliseconds. Default 5; at most 1,000.
    pub linger_ms: u64,
    /// Bytes of records that are read from the buffer and not yet acknowledged, in memory, and 512 for each batch of them.
    /// Default 32 MiB, from 4 MiB to 1 GiB. One lane of several has its share of it handed over at most.
    pub window_bytes_max: usize,
    /// Such records. Default 65,536, at most 1,000,000.
    pub window_records_max: usize,
    /// How long a stop waits for the buffer to empty, milliseconds. Default 10,000; what is left is drained after the
    /// next start. It does not wait while no cluster takes anything.
    pub shutdown_timeout_ms: u64,
    /// Shortest retention of the topic `events`, milliseconds; a cluster with less is not used. Default 7 days. The
    /// workers have the same setting.
    pub events_retention_ms_min: u64,
    /// When to leave a cluster, and when to come back.
    pub breaker: Breaker,
    /// Properties of librdkafka for both clusters: TLS, SASL and anything else. `file:PATH` and `env:NAME` stand for
    /// what is there. Default none. Never printed.
    pub properties: Properties,
    /// The same for the primary alone.
    pub primary_properties: Properties,
    /// The same for the secondary alone.
    pub secondary_properties: Properties,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            primary: "127.0.0.1:19092".into(),
            secondary: "127.0.0.1:29092".into(),
            pin: String::new(),
            lanes: 0,
            linger_ms: 5,
            window_bytes_max: 32 << 20,
            window_records_max: 65_536,
            shutdown_timeout_ms: 10_000,
            events_retention_ms_min: EVENTS_RETENTION_MIN.as_millis() as u64,
            breaker: Breaker::default(),
            properties: Properties::default(),
            primary_properties: Properties::default(),
            secondary_properties: Properties::default(),
        }
    }
}

impl Kafka {
    /// Names of keys whose values are never printed: passwords are among them. A test holds the whole to its part.
    #[cfg(test)]
    pub(crate) const SECRETS: &'static [&'static str] = &["properties", "primary_properties", "secondary_properties"];

    /// A cluster: its brokers, and the properties for both with its own over them.
    pub(crate) fn cluster(&self, cluster: Cluster) -> kafka::Cluster {
        let (brokers, own) = match cluster {
            Cluster::Primary => (&self.primary, &self.primary_properties),
            Cluster::Secondary => (&self.secondary, &self.secondary_properties),
        };
        kafka::Cluster::new("tapi", cluster.name(), brokers, self.properties.with(own))
    }

    /// How long its topics have to keep their records. The window is not known here, and nothing that is refused depends
    /// on it.
    fn retention(&self) -> Retention {
        Retention::new(Window::default(), Duration::from_millis(self.events_retention_ms_min))
    }

    /// Whether librdkafka takes the properties of every cluster that has brokers, asked without connecting.
    ///
    /// # Errors
    /// The first that it does not know or does not take.
    pub(crate) fn check(&self) -> Result<(), kafka::Failure> {
        let clusters = Cluster::BOTH.map(|cluster| self.cluster(cluster));
        clusters.iter().filter(|cluster| cluster.is_configured()).try_for_each(kafka::Cluster::check)
    }

    /// The cluster that the settings choose, if any.
    pub(crate) fn pinned(&self) -> Option<Cluster> {
        Cluster::parse(&self.pin)
    }

    /// What the drain is told of all this. References are not followed: that is for [`resolved`](Self::resolved).
    pub(crate) fn plan(&self) -> Plan {
        Plan {
            clusters: Cluster::BOTH.map(|cluster| self.cluster(cluster)),
            pin: self.pinned(),
            lanes: LaneCount::try_new(self.lanes),
            linger_ms: self.linger_ms,
            bounds: Bounds { records_max: self.window_records_max, bytes_max: self.window_bytes_max },
            finish_within: Duration::from_millis(self.shutdown_timeout_ms),
            retention: self.retention(),
            breaker: self.breaker.limits(),
        }
    }

    /// The same with every `file:` and `env:` replaced by what it stands for.
    ///
    /// # Errors
    /// Where one stands for nothing.
    pub(crate) fn resolved(&self) -> Result<Self, Unresolved> {
        Ok(Self {
            properties: self.properties.resolved()?,
            primary_properties: self.primary_properties.resolved()?,
            secondary_properties: self.secondary_properties.resolved()?,
            ..self.clone()
        })
    }

    /// What deserves a second look, one sentence each.
    pub(crate) fn warnings(&self) -> Vec<String> {
        Cluster::BOTH.into_iter().filter_map(|cluster| self.cluster(cluster).warning()).collect()
    }

    /// What is wrong with the values that their types cannot say.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, key: &'static str, message: String| {
            if !holds {
                problems.push(Problem::new(key, message));
            }
        };
        demand(!self.primary.trim().is_empty(), "kafka.primary", "must name a broker, host:port".into());
        demand(
            self.secondary.is_empty() || self.primary != self.secondary,
            "kafka.secondary",
            "is the primary once more; give another cluster, or none".into(),
        );
        let pin = self.pin.is_empty() || self.pinned().is_some();
        demand(pin, "kafka.pin", "must be \"primary\", \"secondary\" or empty".into());
        demand(
            self.pinned() != Some(Cluster::Secondary) || !self.secondary.is_empty(),
            "kafka.pin",
            "names the secondary, and there is none".into(),
        );
        demand(self.lanes <= LANES_MAX, "kafka.lanes", format!("must be at most {LANES_MAX}"));
        demand(self.linger_ms <= 1000, "kafka.linger_ms", "must be at most 1000".into());
        demand(
            (WINDOW_BYTES_MIN..=WINDOW_BYTES_MAX).contains(&self.window_bytes_max),
            "kafka.window_bytes_max",
            format!("must be between {WINDOW_BYTES_MIN} and {WINDOW_BYTES_MAX}"),
        );
        demand(
            (1..=WINDOW_RECORDS_MAX).contains(&self.window_records_max),
            "kafka.window_records_max",
            format!("must be between 1 and {WINDOW_RECORDS_MAX}"),
        );
        for (key, milliseconds) in [
            ("kafka.shutdown_timeout_ms", self.shutdown_timeout_ms),
            ("kafka.breaker.stall_ms", self.breaker.stall_ms),
            ("kafka.breaker.stall_moving_ms", self.breaker.stall_moving_ms),
            ("kafka.breaker.stall_unreachable_ms", self.breaker.stall_unreachable_ms),
            ("kafka.breaker.pause_ms", self.breaker.pause_ms),
        ] {
            let valid = (1..=MILLISECONDS_MAX).contains(&milliseconds);
            demand(valid, key, format!("must be between 1 and {MILLISECONDS_MAX}"));
        }
        let percent = (1..=100).contains(&self.breaker.failures_percent);
        demand(percent, "kafka.breaker.failures_percent", "must be between 1 and 100".into());
        demand(self.breaker.results_min > 0, "kafka.breaker.results_min", "must be at least 1".into());
        let probes = (1..=1000).contains(&self.breaker.probes);
        demand(probes, "kafka.breaker.probes", "must be between 1 and 1000".into());
        for (key, properties) in [
            ("kafka.properties", &self.properties),
            ("kafka.primary_properties", &self.primary_properties),
            ("kafka.secondary_properties", &self.secondary_properties),
        ] {
            for (name, instead) in FORBIDDEN {
                demand(properties.get(name).is_none(), key, format!("{name} cannot be set here: {instead}"));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(change: impl FnOnce(&mut Kafka)) -> Vec<&'static str> {
        let mut kafka = Kafka::default();
        change(&mut kafka);
        kafka.problems().iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn every_bound_is_checked_by_name() {
        assert_eq!(problem(|_| ()), [""; 0]);
        assert_eq!(problem(|k| k.secondary = String::new()), [""; 0]);
        assert_eq!(problem(|k| k.primary = " ".into()), ["kafka.primary"]);
        assert_eq!(problem(|k| k.secondary.clone_from(&k.primary)), ["kafka.secondary"]);
        assert_eq!(problem(|k| k.pin = "third".into()), ["kafka.pin"]);
        assert_eq!(problem(|k| (k.pin, k.secondary) = ("secondary".into(), String::new())), ["kafka.pin"]);
        assert_eq!(problem(|k| k.lanes = LANES_MAX + 1), ["kafka.lanes"]);
        assert_eq!(problem(|k| k.linger_ms = 1001), ["kafka.linger_ms"]);
        assert_eq!(problem(|k| k.window_bytes_max = 1), ["kafka.window_bytes_max"]);
        assert_eq!(problem(|k| k.window_records_max = 0), ["kafka.window_records_max"]);
        assert_eq!(problem(|k| k.shutdown_timeout_ms = 0), ["kafka.shutdown_timeout_ms"]);
        assert_eq!(problem(|k| k.breaker.stall_ms = 0), ["kafka.breaker.stall_ms"]);
        assert_eq!(problem(|k| k.breaker.stall_moving_ms = 0), ["kafka.breaker.stall_moving_ms"]);
        assert_eq!(problem(|k| k.breaker.stall_unreachable_ms = 0), ["kafka.breaker.stall_unreachable_ms"]);
        assert_eq!(problem(|k| k.breaker.pause_ms = 3_600_001), ["kafka.breaker.pause_ms"]);
        assert_eq!(problem(|k| k.breaker.failures_percent = 101), ["kafka.breaker.failures_percent"]);
        assert_eq!(problem(|k| k.breaker.results_min = 0), ["kafka.breaker.results_min"]);
        assert_eq!(problem(|k| k.breaker.probes = 0), ["kafka.breaker.probes"]);
        for (name, _) in FORBIDDEN {
            assert_eq!(problem(|k| k.properties.set(name, "1")), ["kafka.properties"]);
        }
    }

    #[test]
    fn a_cluster_has_the_common_properties_and_its_own() {
        let mut kafka = Kafka::default();
        kafka.properties.set("sasl.username", "env:PATH");
        kafka.primary_properties.set("security.protocol", "sasl_ssl");
        let resolved = kafka.resolved().unwrap();
        let common = Properties::from_iter([("sasl.username", std::env::var("PATH").unwrap())]);
        let own = common.with(&Properties::from_iter([("security.protocol", "sasl_ssl")]));
        let expected = |name, brokers: &str, properties| kafka::Cluster::new("tapi", name, brokers, properties);
        assert_eq!(resolved.cluster(Cluster::Primary), expected("primary", "127.0.0.1:19092", own));
        assert_eq!(resolved.cluster(Cluster::Secondary), expected("secondary", "127.0.0.1:29092", common));
        kafka.secondary_properties.set("sasl.password", "env:NO_SUCH_VARIABLE");
        assert!(kafka.resolved().is_err());
    }

    #[test]
    fn the_drain_is_told_what_the_settings_say() {
        let kafka = Kafka {
            pin: "secondary".into(),
            linger_ms: 7,
            window_bytes_max: 5 << 20,
            window_records_max: 11,
            shutdown_timeout_ms: 13,
            events_retention_ms_min: 17,
            breaker: Breaker { stall_ms: 19, ..Breaker::default() },
            ..Kafka::default()
        };
        let plan = kafka.plan();
        assert_eq!(plan.clusters, Cluster::BOTH.map(|cluster| kafka.cluster(cluster)));
        assert_eq!((plan.pin, plan.linger_ms), (Some(Cluster::Secondary), 7));
        assert_eq!((plan.bounds.bytes_max, plan.bounds.records_max), (5 << 20, 11));
        assert_eq!((plan.finish_within, plan.retention), (Duration::from_millis(13), kafka.retention()));
        assert_eq!(plan.breaker, kafka.breaker.limits());
    }

    #[test]
    fn a_property_that_is_none_is_named() {
        let mut kafka = Kafka::default();
        assert!(kafka.check().is_ok());
        kafka.secondary_properties.set("no.such.property", "1");
        let said = kafka.check().unwrap_err().to_string();
        assert!(said.contains("no.such.property") && said.contains("secondary"), "{said}");
        kafka.secondary = String::new();
        assert!(kafka.check().is_ok(), "there is no secondary");
    }

    #[test]
    fn a_connection_that_believes_anybody_is_warned_of() {
        let mut kafka = Kafka::default();
        assert_eq!(kafka.warnings(), [""; 0]);
        kafka.secondary_properties.set("enable.ssl.certificate.verification", "false");
        assert_eq!(kafka.warnings().len(), 1);
    }
}
