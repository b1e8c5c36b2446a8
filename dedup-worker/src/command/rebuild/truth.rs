//! The changelog made again from `events.deduped`.
//!
//! 1. the fence of every partition is taken, so that nobody else writes;
//! 2. what is left of the old changelog is deleted;
//! 3. a genesis with a new seed begins the new one: every index of the old one is a stranger from here on;
//! 4. each output record gives back its identity;
//! 5. a checkpoint ends it. Batches behind a genesis without a checkpoint are refused by whoever would own the partition,
//!    so a rebuild that was killed is run again, from 1.
//!
//! The positions of the inputs are gone: they are read from their earliest records, which are duplicates by then.

use std::time::{Duration, Instant};

use rdkafka::Message as _;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use service::Failure;
use wire::changelog::{Checkpoint, Genesis, OutputRange, encode_batch, encode_checkpoint, encode_genesis};
use wire::limits::CHANGELOG_ENTRIES_MAX;
use wire::topic::{EVENTS_DEDUPED, EVENTS_INDEX};
use wire::{Bucket, Digest, PartitionCount};

use super::super::bar::Bar;
use super::super::{TIMEOUT, facts, now_ms, probe};
use crate::config::Config;
use crate::kafka::{Cluster, Isolation, LogReader, Probe, Producer, Read, Watermarks};
use crate::worker::crash::Crash;
use crate::worker::input::decode;
use crate::worker::owner::{new_genesis, transactional_id};
use crate::worker::publish::commit;
use crate::worker::restore::Progress;

/// Time without a record after which the output cluster counts as away.
const STALL: Duration = Duration::from_mins(1);
/// Time of one poll.
const POLL: Duration = Duration::from_millis(100);

/// What was made of the output.
#[derive(Debug, Default)]
struct Tally {
    identities: u64,
    foreign: u64,
}

pub(super) fn rebuild(config: &Config) -> Result<(), Failure> {
    let (cluster, probe) = (config.output(), probe(config)?);
    let (index, output) = (facts(&probe, EVENTS_INDEX)?, facts(&probe, EVENTS_DEDUPED)?);
    let (count, found) = (index.partition_count, output.partition_count);
    if count != found {
        return Err(Failure::failed(format!("{EVENTS_INDEX} has {count} partitions and {EVENTS_DEDUPED} has {found}")));
    }
    let partition_count = PartitionCount::try_new(count).ok_or_else(|| Failure::failed("no partitions"))?;
    let window = config.window().unwrap_or_default();
    let timeout = Duration::from_millis(config.kafka.transaction_timeout_ms);
    let producers: Vec<Producer> = (0..count)
        .map(|partition| Producer::fence(&cluster, &transactional_id(partition), timeout))
        .collect::<Result<_, _>>()
        .map_err(Failure::failed)?;
    let bar = Bar::new();
    let begun = Instant::now();
    let mut tally = Tally::default();
    for (partition, producer) in (0..).zip(&producers) {
        let marks = probe.watermarks(EVENTS_DEDUPED, partition).map_err(Failure::failed)?;
        empty(&cluster, &probe, partition)?;
        let genesis = new_genesis(partition_count, window, now_ms()).map_err(Failure::failed)?;
        let truth = Truth { cluster: &cluster, producer, partition, genesis };
        bar.expect(marks.high - marks.low);
        truth.write(marks, &bar, &mut tally)?;
        bar.say(format!("{:.0} identities/s", tally.identities as f64 / begun.elapsed().as_secs_f64()));
    }
    bar.finish();
    let Tally { identities, foreign } = tally;
    println!(
        "{identities} identities of {count} partitions written to {EVENTS_INDEX}; indexes are made again by themselves"
    );
    if foreign > 0 {
        println!("{foreign} records of {EVENTS_DEDUPED} are not this program's and were passed over");
    }
    Ok(())
}

/// Deletes every record of the old changelog.
fn empty(cluster: &Cluster, probe: &Probe, partition: u32) -> Result<(), Failure> {
    let marks = probe.watermarks(EVENTS_INDEX, partition).map_err(Failure::failed)?;
    if marks.low == marks.high {
        return Ok(());
    }
    let admin: AdminClient<DefaultClientContext> = cluster.config().create().map_err(Failure::failed)?;
    let mut list = TopicPartitionList::new();
    let end = Offset::Offset(marks.high.cast_signed());
    list.add_partition_offset(EVENTS_INDEX, partition.cast_signed(), end).map_err(Failure::failed)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(Failure::failed)?;
    let options = AdminOptions::new().operation_timeout(Some(TIMEOUT));
    let deleted = runtime.block_on(admin.delete_records(&list, &options)).map_err(Failure::failed)?;
    for element in deleted.elements() {
        element.error().map_err(|error| Failure::failed(format!("{EVENTS_INDEX} {partition}: {error}")))?;
    }
    Ok(())
}

/// One partition's new changelog on its way.
struct Truth<'a> {
    cluster: &'a Cluster,
    producer: &'a Producer,
    partition: u32,
    genesis: Genesis,
}

impl Truth<'_> {
    fn write(&self, marks: Watermarks, bar: &Bar, tally: &mut Tally) -> Result<(), Failure> {
        let mut record = Vec::new();
        encode_genesis(&mut record, self.partition, &self.genesis);
        self.commit(&record)?;
        let clock_ms = self.batches(marks, bar, tally)?;
        record.clear();
        let checkpoint = Checkpoint { genesis: self.genesis, positions: Vec::new(), clock_ms };
        encode_checkpoint(&mut record, self.partition, &checkpoint);
        self.commit(&record)
    }

    /// Reads the output up to its end as it was, and gives the window's clock there.
    fn batches(&self, marks: Watermarks, bar: &Bar, tally: &mut Tally) -> Result<i64, Failure> {
        let Genesis { partition_count, seed, window, .. } = self.genesis;
        let mut clock_ms = 0;
        if marks.low == marks.high {
            return Ok(clock_ms);
        }
        let (topic, from) = (EVENTS_DEDUPED, marks.low);
        let reader = LogReader::open(self.cluster, topic, self.partition, from, Isolation::Committed);
        let reader = reader.map_err(Failure::failed)?;
        let mut entries: Vec<(Digest, Bucket)> = Vec::new();
        let mut output = OutputRange { log: 0, start: from, end: from };
        let (mut moved, mut before) = (Instant::now(), Progress::default());
        loop {
            match reader.read(POLL) {
                Read::Record(message) => {
                    moved = Instant::now();
                    // The clock was no later than this when the event was decided, so no bucket becomes older by it.
                    clock_ms = clock_ms.max(message.timestamp().to_millis().unwrap_or(0));
                    output.end = message.offset() as u64 + 1;
                    match decode(&message, self.partition, partition_count, seed) {
                        Ok(event) => entries.push((event.digest, window.bucket_of(event.received_at_ms, clock_ms))),
                        Err(_) => tally.foreign += 1,
                    }
                    bar.advance(&mut before, Progress { from, offset: output.end, end: marks.high, digests: 0 });
                }
                Read::OutOfRange => return Err(Failure::failed(format!("{topic} was cut while it was read"))),
                Read::Trouble(failure) => tracing::debug!(%failure, "reading the output"),
                // The marks of transactions at the end are no records; the position passes them.
                Read::End | Read::Nothing if reader.position().is_some_and(|at| at >= marks.high) => {
                    output.end = marks.high;
                }
                Read::End | Read::Nothing => {}
            }
            let is_at_end = output.end >= marks.high;
            if entries.len() == CHANGELOG_ENTRIES_MAX || (is_at_end && !entries.is_empty()) {
                let mut record = Vec::new();
                encode_batch(&mut record, self.partition, clock_ms, &[], output, &entries);
                self.commit(&record)?;
                tally.identities += entries.len() as u64;
                entries.clear();
                output.start = output.end;
            }
            if is_at_end {
                return Ok(clock_ms);
            }
            if moved.elapsed() > STALL {
                return Err(Failure::failed(format!("the end of {topic} {} was not reached", self.partition)));
            }
        }
    }

    fn commit(&self, record: &[u8]) -> Result<(), Failure> {
        self.producer
            .begin()
            .and_then(|()| commit(self.producer, self.partition, record, Crash::default()))
            .map(|_| ())
            .map_err(|failure| Failure::failed(format!("{failure}; is a worker running?")))
    }
}
