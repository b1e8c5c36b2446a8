//! The settings of `dedup-worker`.
//!
//! `dedup-worker.toml` beside this crate is the commented example; a test holds it to these structs.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use kafka::Cluster;
use ownership::{Budget, Spec};
use serde::{Deserialize, Serialize};
use service::config::{Unresolved, secret};
use service::logging::Logging;
use service::{Access, Problem, Properties, Settings};
use wire::limits::{CHANGELOG_ENTRIES_MAX, LANES_MAX};
use wire::topic::{EVENTS_RETENTION_MIN, Retention};
use wire::{DigestSeed, LaneCount, Window};

use crate::worker::batch::BatchLimits;
use crate::worker::spec::{MEMORY_BYTES_MAX, spec};

/// What brokers see in their logs.
const PROGRAM: &str = "dedup-worker";
/// Fewer open digests than one batch can bring would seal at every batch.
const OPEN_DIGESTS_MIN: usize = 65_536;
/// A shorter secret may be guessed, or is the name of one.
const SEED_BYTES_MIN: usize = 16;
/// Shortest session that a worker's thread can keep up on a busy machine. Brokers take none below 6,000 unless their
/// `group.min.session.timeout.ms` says so.
const SESSION_TIMEOUT_MS_MIN: u64 = 2_000;
/// Shortest transaction that a batch fits into on a busy broker, and the longest that a takeover waits for.
const TRANSACTION_TIMEOUT_MS: std::ops::RangeInclusive<u64> = 5_000..=60_000;
/// Properties that the promises rest on, and what to do instead.
const FORBIDDEN: [(&str, &str); 13] = [
    ("bootstrap.servers", "set primary, secondary and output"),
    ("metadata.broker.list", "set primary, secondary and output"),
    ("group.id", "set group"),
    ("group.instance.id", "it is kept in the data folder"),
    ("session.timeout.ms", "set session_timeout_ms"),
    ("transaction.timeout.ms", "set transaction_timeout_ms"),
    ("transactional.id", "it is the fence of a lane, the same for every worker"),
    ("isolation.level", "each reader has the one that it needs"),
    ("acks", "it is all"),
    ("enable.idempotence", "it is on"),
    ("enable.auto.commit", "positions are in the changelog"),
    ("auto.offset.reset", "an offset that is gone is reported, never passed over"),
    ("allow.auto.create.topics", "a topic is made by whoever knows how it must be set"),
];

/// What `dedup-worker` can be told, in a file or by `DEDUP_` variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port for `/metrics`, `/healthz`, `/readyz` and the status page. Default `127.0.0.1:9091`, or a free port
    /// where another process has that; port 0 takes a free one. It has no login, so keep it away from the internet.
    pub admin_listen: SocketAddr,
    /// Directory of the indexes, used by one process at a time. Default `./data/dedup`, or `./data/dedup-2` and so on where
    /// another worker has that. Its loss costs a replay.
    pub data: PathBuf,
    /// Who beside the owner may read what is stored, `data` and all below it. Default `group` (folders 0750, files 0640);
    /// `owner`, or `umask` for whatever the umask of the process lets.
    pub data_access: Access,
    /// Logs on stderr.
    pub log: Logging,
    /// What all workers have in common, whatever their hosts.
    pub(crate) fleet: Fleet,
    /// The clusters.
    pub kafka: Kafka,
    /// Size of batches.
    pub batch: Batch,
    /// The index.
    pub index: Index,
    /// The window of a changelog that does not exist yet. An existing one keeps its own.
    pub window: NewWindow,
}

/// What all workers have in common.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Fleet {
    /// A secret that the seed of every lane's digests is made from, `file:PATH` and `env:NAME` standing for what is there.
    /// Default empty: each lane of a new changelog has a random one. Never printed.
    pub(crate) seed: String,
}

impl fmt::Debug for Fleet {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Fleet").finish_non_exhaustive()
    }
}

/// The clusters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// First input: brokers as host:port, separated by commas. Default `127.0.0.1:19092`.
    pub primary: String,
    /// Second input. Default `127.0.0.1:29092`; empty is none.
    pub secondary: String,
    /// Where output and changelog are. Default empty: the primary.
    pub output: String,
    /// The group in which workers share the lanes. Default `dedup-worker`.
    pub group: String,
    /// How many lanes there are. Default 0: as the changelog of lane 0 was begun, or, for a new one, as many as `events.index`
    /// has partitions. One that differs from the changelog's is refused.
    pub lanes: u32,
    /// Time after which a worker that went silent is replaced, and within which one that is started again has its lanes back.
    /// Default 10,000; at least 2,000, and 6,000 where the brokers' `group.min.session.timeout.ms` is what it is by
    /// default.
    pub session_timeout_ms: u64,
    /// Shortest retention of the topic `events`, milliseconds; an input with less is refused. Default 7 days. `tapi` has
    /// the same setting.
    pub events_retention_ms_min: u64,
    /// Longest life of a transaction. Default 30,000, from 5,000 to 60,000. A reader of the output waits so long for one that a
    /// dead worker left open, if nobody takes the lane over before.
    pub transaction_timeout_ms: u64,
    /// Properties of librdkafka for every cluster: TLS, SASL and anything else. `file:PATH` and `env:NAME` stand for what
    /// is there. Default none. Never printed.
    pub properties: Properties,
    /// The same for the primary alone.
    pub primary_properties: Properties,
    /// The same for the secondary alone.
    pub secondary_properties: Properties,
    /// The same for the output alone; where `output` is empty, the primary's are used.
    pub output_properties: Properties,
}

/// Size of batches: one transaction each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Records at most. Default 20,000; from 1 to 40,000, what a changelog record holds.
    pub records_max: usize,
    /// Bytes of values at which a batch is full. Default 16 MiB.
    pub bytes_max: usize,
    /// Bytes that the batches of all lanes and what restores read ahead may hold together; a record counts for half a KiB
    /// more than it has. Default 48 MiB. Where they do, batches of a mebibyte and more go as they are, and further restores
    /// read ahead by 2 MiB each; restores leave half of it to batches.
    pub memory_bytes_max: usize,
}

/// The index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Index {
    /// Identities of one lane kept in memory before they are sealed into a sorted run on disk. Default as the
    /// index's own; at least 65,536. More means fewer, larger runs and a longer replay after a crash.
    pub open_digests_max: usize,
    /// Bytes on disk that indexes of lanes which this worker owns no more may take. Default 4 GiB. A lane that comes back is
    /// taken over the sooner where its index is still there; the ones that were used longest ago go first.
    pub unowned_bytes_max: u64,
}

/// The window of a new changelog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewWindow {
    /// Span of a bucket, seconds. Default a day.
    pub bucket_s: u64,
    /// Buckets within which a repeat is always found. Default 28.
    pub promised_buckets: u32,
    /// Further buckets, for time in hosts' buffers and for clocks that are off. Default 2.
    pub margin_buckets: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            admin_listen: ([127, 0, 0, 1], 9091).into(),
            data: "./data/dedup".into(),
            data_access: Access::default(),
            log: Logging::default(),
            fleet: Fleet::default(),
            kafka: Kafka::default(),
            batch: Batch::default(),
            index: Index::default(),
            window: NewWindow::default(),
        }
    }
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            primary: "127.0.0.1:19092".into(),
            secondary: "127.0.0.1:29092".into(),
            output: String::new(),
            group: "dedup-worker".into(),
            lanes: 0,
            session_timeout_ms: 10_000,
            events_retention_ms_min: EVENTS_RETENTION_MIN.as_millis() as u64,
            transaction_timeout_ms: 30_000,
            properties: Properties::default(),
            primary_properties: Properties::default(),
            secondary_properties: Properties::default(),
            output_properties: Properties::default(),
        }
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self { records_max: 20_000, bytes_max: 16 << 20, memory_bytes_max: MEMORY_BYTES_MAX }
    }
}

impl Default for Index {
    fn default() -> Self {
        Self { open_digests_max: dedup::Options::default().open_digests_max, unowned_bytes_max: 4 << 30 }
    }
}

impl Default for NewWindow {
    fn default() -> Self {
        let window = Window::default();
        Self {
            bucket_s: window.bucket_ms() / 1000,
            promised_buckets: window.promised_buckets(),
            margin_buckets: window.margin_buckets(),
        }
    }
}

impl Settings for Config {
    const PREFIX: &'static str = "DEDUP";
    const OTHER_VARIABLES: &'static [&'static str] = &["DEDUP_CONFIG", crate::crash::VARIABLE];
    const SECRETS: &'static [&'static str] =
        &["properties", "primary_properties", "secondary_properties", "output_properties", "seed"];

    fn data_access(&self) -> Access {
        self.data_access
    }

    fn problems(&self) -> Vec<Problem> {
        let Self { kafka, batch, .. } = self;
        let mut problems = Vec::new();
        let mut check = |is_wrong: bool, key: &'static str, message: String| {
            if is_wrong {
                problems.push(Problem::new(key, message));
            }
        };
        check(kafka.primary.is_empty(), "kafka.primary", "must name a broker".into());
        check(kafka.primary == kafka.secondary, "kafka.secondary", "is the primary; leave it empty for none".into());
        check(kafka.group.is_empty(), "kafka.group", "must have a name".into());
        check(
            kafka.lanes > LANES_MAX,
            "kafka.lanes",
            format!("must be from 1 to {LANES_MAX}, or 0 for what the changelog says"),
        );
        let seed = &self.fleet.seed;
        let is_short = !seed.is_empty() && seed.len() < SEED_BYTES_MIN;
        check(is_short, "fleet.seed", format!("must have at least {SEED_BYTES_MIN} characters, or be empty"));
        for (key, properties) in [
            ("kafka.properties", &kafka.properties),
            ("kafka.primary_properties", &kafka.primary_properties),
            ("kafka.secondary_properties", &kafka.secondary_properties),
            ("kafka.output_properties", &kafka.output_properties),
        ] {
            for (name, instead) in FORBIDDEN {
                let message = format!("{name} cannot be set here: {instead}");
                check(properties.get(name).is_some(), key, message);
            }
        }
        let (session, transaction) = (kafka.session_timeout_ms, kafka.transaction_timeout_ms);
        let at_least = |bound: u64| format!("must be at least {bound}");
        check(session < SESSION_TIMEOUT_MS_MIN, "kafka.session_timeout_ms", at_least(SESSION_TIMEOUT_MS_MIN));
        let bounds = TRANSACTION_TIMEOUT_MS;
        let message = format!("must be from {} to {}", bounds.start(), bounds.end());
        check(!bounds.contains(&transaction), "kafka.transaction_timeout_ms", message);
        let records = format!("must be from 1 to {CHANGELOG_ENTRIES_MAX}");
        check(!(1..=CHANGELOG_ENTRIES_MAX).contains(&batch.records_max), "batch.records_max", records);
        check(batch.bytes_max == 0, "batch.bytes_max", at_least(1));
        let open = self.index.open_digests_max;
        check(open < OPEN_DIGESTS_MIN, "index.open_digests_max", at_least(OPEN_DIGESTS_MIN as u64));
        let lengths = "must be at least 1 s, 1 bucket and 1 bucket of margin, together 366 buckets at most";
        check(self.window().is_none(), "window.bucket_s", lengths.into());
        problems.extend(self.log.problem().map(|message| Problem::new("log.filter", message)));
        problems
    }
}

impl Config {
    /// The same with every `file:` and `env:` of a property replaced by what it stands for.
    ///
    /// # Errors
    /// Where one stands for nothing.
    pub fn resolved(mut self) -> Result<Self, Unresolved> {
        let Kafka { properties, primary_properties, secondary_properties, output_properties, .. } = &mut self.kafka;
        for properties in [properties, primary_properties, secondary_properties, output_properties] {
            *properties = properties.resolved()?;
        }
        self.fleet.seed = secret("fleet.seed", &self.fleet.seed)?;
        Ok(self)
    }

    /// The cluster of output and changelog.
    pub fn output(&self) -> Cluster {
        let Kafka { primary, output, primary_properties, output_properties, .. } = &self.kafka;
        let (brokers, own) =
            if output.is_empty() { (primary, primary_properties) } else { (output, output_properties) };
        Cluster::new(PROGRAM, "output", brokers, self.kafka.properties.with(own))
    }

    /// What a lane of the worker is.
    pub(crate) fn spec(&self) -> Spec {
        let ms = Duration::from_millis;
        let Kafka { group, session_timeout_ms, transaction_timeout_ms, .. } = &self.kafka;
        let (session, transaction) = (ms(*session_timeout_ms), ms(*transaction_timeout_ms));
        let spec = spec(self.output(), group.clone(), session, transaction, self.data.clone());
        Spec { memory: Budget::new(self.batch.memory_bytes_max), ..spec }
    }

    /// The inputs.
    pub fn inputs(&self) -> Vec<Cluster> {
        let Kafka { primary, secondary, properties, primary_properties, secondary_properties, .. } = &self.kafka;
        let mut inputs = vec![Cluster::new(PROGRAM, "primary", primary, properties.with(primary_properties))];
        if !secondary.is_empty() {
            inputs.push(Cluster::new(PROGRAM, "secondary", secondary, properties.with(secondary_properties)));
        }
        inputs
    }

    /// How many lanes there are to be, where that was given.
    pub fn lanes(&self) -> Option<LaneCount> {
        LaneCount::try_new(self.kafka.lanes)
    }

    /// The seed that every lane is to have, where one was given.
    pub fn seed(&self) -> Option<DigestSeed> {
        let secret = self.fleet.seed.as_bytes();
        (!secret.is_empty()).then(|| DigestSeed::of_secret(secret))
    }

    /// The window of a new changelog; `None` where its lengths are out of bounds.
    pub fn window(&self) -> Option<Window> {
        let NewWindow { bucket_s, promised_buckets, margin_buckets } = self.window;
        Window::try_new(bucket_s.checked_mul(1000)?, promised_buckets, margin_buckets)
    }

    /// How long the topics have to keep their records.
    pub fn retention(&self) -> Retention {
        let events_min = Duration::from_millis(self.kafka.events_retention_ms_min);
        Retention::new(self.window().unwrap_or_default(), events_min)
    }

    /// Settings of an index.
    pub fn index_options(&self) -> dedup::Options {
        dedup::Options { open_digests_max: self.index.open_digests_max, ..dedup::Options::default() }
    }

    /// Size of batches.
    pub fn limits(&self) -> BatchLimits {
        let Batch { records_max, bytes_max, .. } = self.batch;
        BatchLimits { records_max, bytes_max }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_example_says_every_key_and_its_default() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("dedup-worker.toml");
        let example = service::config::load::<Config>(Some(&file), []).unwrap();
        assert_eq!(example.value, Config::default());
        let unsaid: Vec<_> = example.keys().into_iter().filter(|key| example.origin(key).is_default()).collect();
        assert_eq!(unsaid, Vec::<String>::new());
    }

    #[test]
    fn bounds_are_checked_by_name() {
        let mut config = Config::default();
        assert_eq!(config.problems(), []);
        config.kafka.secondary = config.kafka.primary.clone();
        config.kafka.session_timeout_ms = SESSION_TIMEOUT_MS_MIN - 1;
        config.kafka.transaction_timeout_ms = TRANSACTION_TIMEOUT_MS.end() + 1;
        config.batch.records_max = CHANGELOG_ENTRIES_MAX + 1;
        config.index.open_digests_max = OPEN_DIGESTS_MIN - 1;
        config.window.margin_buckets = 0;
        config.kafka.properties.set("isolation.level", "read_uncommitted");
        let keys: Vec<_> = config.problems().iter().map(|problem| problem.key).collect();
        let expected = [
            "kafka.secondary",
            "kafka.properties",
            "kafka.session_timeout_ms",
            "kafka.transaction_timeout_ms",
            "batch.records_max",
            "index.open_digests_max",
            "window.bucket_s",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn variables_and_secrets() {
        let environment = [
            ("DEDUP_KAFKA_PRIMARY", "a:1"),
            ("DEDUP_KAFKA_SECONDARY", ""),
            ("DEDUP_KAFKA_PRIMARY_PROPERTIES", r#"{"sasl.password" = "hunter2"}"#),
            ("DEDUP_KAFKA_PROPERTIES", r#"{"sasl.username" = "env:PATH"}"#),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let loaded = service::config::load::<Config>(None, environment).unwrap();
        assert_eq!(loaded.value.inputs().len(), 1);
        assert!(!loaded.to_string().contains("hunter2"));
        let common = Properties::from_iter([("sasl.username", std::env::var("PATH").unwrap())]);
        let own = common.with(&Properties::from_iter([("sasl.password", "hunter2")]));
        let expected = Cluster::new(PROGRAM, "output", "a:1", own);
        assert_eq!(loaded.value.resolved().unwrap().output(), expected, "the output is the primary");
    }
}
