//! Reads a Kafka topic as its readers do, `read_committed`: from the earliest record of every partition to the end that
//! it had when the reading began, by manual assignment, without a group and without a commit. The topic may grow by
//! partitions until then: each look asks which there are, and a new one is read from its first record.
//!
//! Two offsets end a partition. The *high watermark* is behind the last record, whatever became of it; only a
//! `read_uncommitted` query tells it. The *last stable offset* is before the first transaction that is still open, and
//! what a `read_committed` reader can reach. While they differ the output is not finished. Offsets are no count of
//! records: control records and those of aborted transactions have offsets too, so an end is reached by position.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::metadata::{MetadataPartition, MetadataTopic};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, ClientContext};
use service::{Properties, remark};

use super::source::{Found, Look, Place};
use crate::Error;

const SCHEME: &str = "kafka://";
/// The consumer wants a name for its group, though it never joins it.
const GROUP: &str = "loadtest-verify";
/// For one question about the topic.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How often a reader that gets nothing looks whether it has reached the end.
const POLL_LIMIT: Duration = Duration::from_millis(100);
/// A reader that gets no further for this long gives up.
const STALL_LIMIT: Duration = Duration::from_secs(30);
/// Fetched records that wait in a reader, KiB: its share of the memory.
const READ_AHEAD_KIB: &str = "32768";
/// How long a full read-ahead pauses the fetching; with the default, a second, a fast reader runs dry.
const READ_AHEAD_PAUSE_MS: &str = "5";
/// Longest topic name that Kafka allows.
const TOPIC_BYTES_MAX: usize = 249;

/// A topic that answered.
pub(super) struct Topic {
    brokers: String,
    properties: Properties,
    name: String,
    /// All that were ever named: a topic loses none, and a broker that knows fewer has not heard of the others yet.
    partitions: Mutex<BTreeSet<i32>>,
    /// Sees the last stable offset as the end.
    committed: BaseConsumer<Heard>,
    /// Sees the high watermark as the end.
    uncommitted: BaseConsumer<Heard>,
}

/// What of a partition is to be read, by offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    partition: i32,
    first: i64,
    /// Behind the last that a transaction cannot hold back.
    stable: i64,
    /// Behind the last.
    end: i64,
}

impl Topic {
    /// The topic that an `--output` names; nothing where it names no topic.
    pub(super) fn connect(output: &str, properties: &Properties) -> Option<Result<Self, Error>> {
        let address = output.strip_prefix(SCHEME)?;
        Some(parse(address).map_err(|why| Error::Usage(format!("--output {output}: {why}"))).and_then(|parsed| {
            let (brokers, name) = parsed;
            let properties = properties.resolved();
            let properties = properties.map_err(|error| Error::Usage(format!("--kafka-property {error}")))?;
            Self::connect_to(brokers, name, properties)
        }))
    }

    fn connect_to(brokers: &str, name: &str, properties: Properties) -> Result<Self, Error> {
        let client = |isolation: &str| {
            let mut settings = settings(brokers, &properties);
            let client = settings.set("isolation.level", isolation).create_with_context(Heard::default());
            // The value that librdkafka does not take may be a secret.
            client.map_err(|error: KafkaError| match error {
                KafkaError::ClientConfig(_, _, name, _) => {
                    Error::Usage(format!("--kafka-property {name}: there is no such property, or not with this value"))
                }
                error => Error::Failed(format!("no Kafka client: {error}")),
            })
        };
        let (committed, uncommitted) = (client("read_committed")?, client("read_uncommitted")?);
        let (brokers, name) = (brokers.to_owned(), name.to_owned());
        let topic = Self { brokers, properties, name, partitions: Mutex::default(), committed, uncommitted };
        let (brokers, name) = (&topic.brokers, &topic.name);
        match topic.named_to(&topic.uncommitted).map_err(|error| topic.silence(&error))? {
            Ok(named) if !named.is_empty() => {
                topic.lock().extend(named);
                Ok(topic)
            }
            Ok(_) | Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                Err(Error::Usage(format!(
                    "--output: {brokers} has no topic {name}; `make kafka` creates the topics of a local pipeline"
                )))
            }
            Err(code) => Err(Error::Failed(format!("the topic {name} of {brokers} cannot be read: {code}"))),
        }
    }

    /// The partitions that a client is told of now, or why it is told of none.
    fn named_to(&self, client: &BaseConsumer<Heard>) -> Result<Result<BTreeSet<i32>, RDKafkaErrorCode>, KafkaError> {
        let metadata = client.fetch_metadata(Some(&self.name), ANSWER_LIMIT)?;
        let found = metadata.topics().iter().find(|found| found.name() == self.name);
        Ok(match found.and_then(MetadataTopic::error).map(RDKafkaErrorCode::from) {
            None => Ok(found.into_iter().flat_map(MetadataTopic::partitions).map(MetadataPartition::id).collect()),
            Some(code) => Err(code),
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How far the topic has grown, and what is still open.
    pub(super) fn look(&self) -> Look {
        match self.spans() {
            Ok(spans) => {
                let open = spans.iter().filter(|span| span.stable < span.end).count();
                Look {
                    size: spans.iter().map(|span| span.end as u64).sum(),
                    unfinished: (open > 0).then(|| format!("open transactions in {open} partitions")),
                }
            }
            // It may come back; the wait has a limit of its own.
            Err(error) => Look { size: 0, unfinished: Some(self.silence(&error).to_string()) },
        }
    }

    /// Why nothing more is known, and what to do about it.
    fn silence(&self, error: &KafkaError) -> Error {
        // Complaints wait until somebody polls; this client reads nothing and gets nothing else.
        while self.uncommitted.poll(Duration::ZERO).is_some() {}
        let heard = self.uncommitted.context().0.lock().unwrap_or_else(PoisonError::into_inner);
        let said = if heard.is_empty() { error.to_string() } else { format!("{error}: {heard}") };
        let advice = Properties::advice(&said)
            .map_or("is it running? `make kafka` starts a local one on 127.0.0.1:19092".to_owned(), |advice| {
                format!("{advice} (--kafka-property NAME=VALUE)")
            });
        Error::Failed(format!("Kafka does not answer at {} ({said}): {advice}", self.brokers))
    }

    pub(super) fn partitions(&self) -> usize {
        self.lock().len()
    }

    /// Reads with `threads` threads, each some of the partitions, and gives back their readers and the bytes of all
    /// values. What an open transaction holds back is torn.
    pub(super) fn read<R: Send>(
        &self,
        threads: usize,
        start: impl Fn() -> R + Sync,
        take: impl Fn(&mut R, Place<'_>, Found<'_>) + Sync,
    ) -> Result<(Vec<R>, u64), Error> {
        let spans = self.spans().map_err(|error| self.silence(&error))?;
        for span in spans.iter().filter(|span| span.first > 0) {
            remark(format_args!(
                "partition {}: records before offset {} are deleted, not read",
                span.partition, span.first
            ));
        }
        let threads = threads.min(spans.len());
        let work = |thread: usize| {
            let mut reader = start();
            let own: Vec<Span> = spans.iter().skip(thread).step_by(threads).copied().collect();
            let bytes = self.read_spans(&own, |partition, offset, found| {
                take(&mut reader, Place::Record { topic: &self.name, partition, offset }, found);
            })?;
            Ok::<_, Error>((reader, bytes))
        };
        let work = &work;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            let mut all = (Vec::new(), 0);
            for thread in threads {
                let (reader, bytes) = thread.join().expect("a reader panicked")?;
                all.0.push(reader);
                all.1 += bytes;
            }
            Ok(all)
        })
    }

    fn read_spans(&self, spans: &[Span], mut take: impl FnMut(i32, i64, Found<'_>)) -> Result<u64, Error> {
        let mut open: Vec<Span> = spans.iter().filter(|span| span.first < span.stable).copied().collect();
        let mut bytes = 0;
        if !open.is_empty() {
            let consumer = self.assigned(&open).map_err(|error| self.silence(&error))?;
            let mut progress = Progress::new();
            while !open.is_empty() {
                match consumer.poll(POLL_LIMIT) {
                    Some(Ok(record)) => {
                        let (partition, offset) = (record.partition(), record.offset());
                        // What has come behind the end since is not taken.
                        if let Some(index) = open.iter().position(|span| span.partition == partition) {
                            progress.made();
                            let end = open[index].stable;
                            if offset < end {
                                let value = record.payload().unwrap_or_default();
                                bytes += value.len() as u64;
                                take(partition, offset, Found::Line(value));
                            }
                            if offset + 1 >= end {
                                open.swap_remove(index);
                            }
                            continue;
                        }
                    }
                    Some(Err(KafkaError::PartitionEOF(_))) | None => {}
                    Some(Err(error)) => progress.last_error = Some(error),
                }
                // A partition that ends in control records, or in aborted ones, has no record at its end.
                let positions = consumer.position().map_err(|error| self.silence(&error))?;
                let is_open = |span: &Span| {
                    let place = positions.find_partition(&self.name, span.partition);
                    !matches!(place.map(|place| place.offset()), Some(Offset::Offset(at)) if at >= span.stable)
                };
                let before = open.len();
                open.retain(is_open);
                if open.len() < before {
                    progress.made();
                }
                progress.check(&self.brokers, &self.name, &open)?;
            }
        }
        for span in spans.iter().filter(|span| span.stable < span.end) {
            take(span.partition, span.stable, Found::Torn);
        }
        Ok(bytes)
    }

    fn assigned(&self, spans: &[Span]) -> Result<BaseConsumer, KafkaError> {
        let consumer: BaseConsumer = settings(&self.brokers, &self.properties)
            .set("group.id", GROUP)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "earliest")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", READ_AHEAD_KIB)
            .set("fetch.queue.backoff.ms", READ_AHEAD_PAUSE_MS)
            .create()?;
        let mut assignment = TopicPartitionList::new();
        for span in spans {
            assignment.add_partition_offset(&self.name, span.partition, Offset::Offset(span.first))?;
        }
        consumer.assign(&assignment)?;
        Ok(consumer)
    }

    /// What there is now. The high watermark is asked first: whatever was before it is open or final afterwards.
    fn spans(&self) -> Result<Vec<Span>, KafkaError> {
        // Both clients: one that has not heard of a partition says that there is none, without asking anybody.
        for client in [&self.uncommitted, &self.committed] {
            let named = self.named_to(client)?.map_err(KafkaError::MetadataFetch)?;
            self.lock().extend(named);
        }
        let partitions = self.lock().clone();
        partitions
            .into_iter()
            .map(|partition| {
                let (first, end) = self.uncommitted.fetch_watermarks(&self.name, partition, ANSWER_LIMIT)?;
                let (_, stable) = self.committed.fetch_watermarks(&self.name, partition, ANSWER_LIMIT)?;
                Ok(Span { partition, first, stable: stable.min(end), end })
            })
            .collect()
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{SCHEME}{}/{}", self.brokers, self.name)
    }
}

/// When a reader last got further.
struct Progress {
    last: Instant,
    last_error: Option<KafkaError>,
}

impl Progress {
    fn new() -> Self {
        Self { last: Instant::now(), last_error: None }
    }

    fn made(&mut self) {
        *self = Self::new();
    }

    fn check(&self, brokers: &str, topic: &str, open: &[Span]) -> Result<(), Error> {
        let Some(span) = open.first().filter(|_| self.last.elapsed() >= STALL_LIMIT) else {
            return Ok(());
        };
        let why = self.last_error.as_ref().map_or("no error was given".to_owned(), ToString::to_string);
        Err(Error::Failed(format!(
            "{brokers} gives no more of {topic} for {STALL_LIMIT:?}, partition {} has records until offset {}: {why}",
            span.partition, span.stable
        )))
    }
}

/// The last complaint of a client: a timeout alone says nothing of a wrong password.
#[derive(Default)]
struct Heard(Mutex<String>);

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, reason: &str) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // "1/1 brokers are down" follows the reason for it, and says less.
        if heard.is_empty() || error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            reason.clone_into(&mut heard);
        }
    }

    fn log(&self, level: RDKafkaLogLevel, _: &str, message: &str) {
        use RDKafkaLogLevel::{Alert, Critical, Emerg, Error};
        if matches!(level, Emerg | Alert | Critical | Error) {
            message.clone_into(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl ConsumerContext for Heard {}

fn settings(brokers: &str, properties: &Properties) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "loadtest")
        // A topic that is not there is to be seen, not made by being looked at.
        .set("allow.auto.create.topics", "false")
        // A broker that restarts is found again at once.
        .set("reconnect.backoff.max.ms", "500");
    for (name, value) in properties.iter() {
        config.set(name, value);
    }
    config
}

/// Brokers (`HOST:PORT`, several with commas between them) and topic.
fn parse(address: &str) -> Result<(&str, &str), &'static str> {
    const FORM: &str = "must be kafka://HOST:PORT/TOPIC";
    let (brokers, topic) = address.split_once('/').ok_or(FORM)?;
    let is_broker = |broker: &str| {
        broker.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    if !brokers.split(',').all(is_broker) || topic.is_empty() {
        return Err(FORM);
    }
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if topic.len() > TOPIC_BYTES_MAX || !topic.bytes().all(is_legal) {
        return Err("a topic's name has letters, digits, '.', '_' and '-', 249 at most");
    }
    Ok((brokers, topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_and_topic_are_told_apart() {
        assert_eq!(parse("127.0.0.1:19092/events.deduped"), Ok(("127.0.0.1:19092", "events.deduped")));
        assert_eq!(parse("a:1,[::1]:2/t"), Ok(("a:1,[::1]:2", "t")));
        let longest = format!("a:1/{}", "t".repeat(TOPIC_BYTES_MAX));
        parse(&longest).expect("as long as Kafka allows");
        for bad in ["", "a:1", "a:1/", "a/t", ":1/t", "a:x/t", "a:1,/t", "a:1/t/u", "a:1/t?x", &(longest + "t")] {
            parse(bad).expect_err(bad);
        }
    }
}
