//! The changelog made again from `events.deduped`.
//!
//! One partition after the other:
//!
//! 1. its fence is taken, so that nobody else writes;
//! 2. a batch with the mark of a changelog that is being made again ([`changelog::unfinished`]) goes behind the old one: proof
//!    that the fence is still ours, and from here on the partition is refused, without a fence, by whoever would own it;
//! 3. the old changelog is deleted up to the mark, and no further: a rebuild that was frozen and wakes up here must not delete
//!    what another one has finished meanwhile;
//! 4. a genesis with a new seed, and the mark with it, begins the new one: every index of the old one is a stranger from
//!    here on;
//! 5. each output record gives back its identity, in batches with the mark;
//! 6. a checkpoint without the mark ends it. A rebuild that was killed before is run again, from 1.
//!
//! A worker that took the fence back, because it had looked before the mark was there, looks again and then waits; so the
//! partition is begun again, from 1, a few times. Workers may run meanwhile: they go on with the other partitions.
//!
//! The positions of the inputs are gone: they are read from their earliest records, which are duplicates by then. They are
//! decided by the window as it was when they came, so the clock is set back to the earliest of them.

use std::time::{Duration, Instant};

use changelog::{Progress, unfinished};
use kafka::{Cluster, Isolation, LogReader, Probe, Read, Watermarks, delete_before};
use ownership::{LogWriter, Spec};
use service::Failure;
use tracing::warn;
use wire::changelog::{Checkpoint, Genesis, OutputRange, encode_batch, encode_checkpoint, encode_genesis};
use wire::limits::CHANGELOG_ENTRIES_MAX;
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_RETENTION_MIN};
use wire::{Bucket, Digest, PartitionCount};

use super::super::bar::Bar;
use super::super::{TIMEOUT, facts, now_ms, probe};
use crate::config::Config;
use crate::worker::decode::decode;
use crate::worker::lane::new_genesis;
use crate::worker::topics;

/// Times that a partition is begun before the rebuild gives up: a worker takes the fence back once, and not again behind
/// the mark.
const TRIES_MAX: u32 = 5;
/// Time without a record after which the output cluster counts as away.
const STALL: Duration = Duration::from_mins(1);
/// Time of one poll.
const POLL: Duration = Duration::from_millis(100);
/// How far back an input reaches that does not answer: what `events` is kept for.
const INPUT_MS: i64 = EVENTS_RETENTION_MIN.as_millis() as i64;

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
    // For as long as the process runs.
    let spec: &'static Spec = Box::leak(Box::new(config.spec()));
    let inputs = config.inputs();
    let bar = Bar::new();
    let begun = Instant::now();
    let mut total = Tally::default();
    for partition in 0..count {
        // No later than the inputs begin: the window's clock starts with the genesis.
        let inputs_ms = earliest_ms(&inputs, partition);
        let mut tries = 1;
        let tally = loop {
            let genesis = new_genesis(partition_count, window, inputs_ms).map_err(Failure::failed)?;
            let writer = LogWriter::take(spec, partition).map_err(Failure::failed)?;
            let cluster = &cluster;
            match (Truth { cluster, writer, partition, genesis, inputs_ms }).make(&probe, &bar) {
                Ok(tally) => break tally,
                Err(failure) if tries == TRIES_MAX => return Err(failure),
                Err(failure) => warn!(partition, %failure, "the partition is begun again"),
            }
            tries += 1;
        };
        total.identities += tally.identities;
        total.foreign += tally.foreign;
        bar.say(format!("{:.0} identities/s", total.identities as f64 / begun.elapsed().as_secs_f64()));
    }
    bar.finish();
    let Tally { identities, foreign } = total;
    println!(
        "{identities} identities of {count} partitions written to {EVENTS_INDEX}; indexes are made again by themselves"
    );
    if foreign > 0 {
        println!("{foreign} records of {EVENTS_DEDUPED} are not this program's and were passed over");
    }
    Ok(())
}

/// When the earliest record of the inputs was appended, milliseconds since the Unix epoch; now where there is none.
fn earliest_ms(inputs: &[Cluster], partition: u32) -> i64 {
    let earliest = |input: &Cluster| -> Option<i64> {
        let marks = Probe::new(input, TIMEOUT).ok()?.watermarks(EVENTS, partition).ok()?;
        if marks.low == marks.high {
            return Some(now_ms());
        }
        let mut reader = LogReader::open(input, topics::EVENTS, partition, marks.low, Isolation::Uncommitted).ok()?;
        let begun = Instant::now();
        while begun.elapsed() < TIMEOUT {
            if let Read::Record(record) = reader.read(POLL) {
                return Some(record.appended_ms());
            }
        }
        None
    };
    let times = inputs.iter().map(|input| earliest(input).unwrap_or(now_ms() - INPUT_MS));
    times.min().unwrap_or_else(now_ms)
}

/// One partition's new changelog on its way.
struct Truth<'a> {
    cluster: &'a Cluster,
    writer: LogWriter,
    partition: u32,
    genesis: Genesis,
    /// Where the clock stands from which the inputs are read again: later records must not have moved it on.
    inputs_ms: i64,
}

impl Truth<'_> {
    /// Makes it, from the output as it is behind the mark.
    fn make(self, probe: &Probe, bar: &Bar) -> Result<Tally, Failure> {
        let (partition, mut tally) = (self.partition, Tally::default());
        let truth = self.claim()?;
        let marks = probe.watermarks(EVENTS_DEDUPED, partition).map_err(Failure::failed)?;
        bar.expect(marks.high - marks.low);
        truth.write(marks, bar, &mut tally)?;
        Ok(tally)
    }

    /// Marks the old changelog, and deletes it up to the mark. What comes behind it is not the old owner's, nor is what comes
    /// before it a truth any more.
    fn claim(self) -> Result<Self, Failure> {
        let mark = self.batch(0, OutputRange::default(), &[]);
        let truth = self.commit(&[mark])?;
        let deleted = delete_before(truth.cluster, EVENTS_INDEX, truth.partition, truth.writer.end(), TIMEOUT);
        deleted.map_err(|failure| Failure::failed(format!("{EVENTS_INDEX} {}: {failure}", truth.partition)))?;
        Ok(truth)
    }

    fn write(self, marks: Watermarks, bar: &Bar, tally: &mut Tally) -> Result<(), Failure> {
        let mut genesis = Vec::new();
        encode_genesis(&mut genesis, self.partition, &self.genesis);
        let mark = self.batch(0, OutputRange::default(), &[]);
        let (truth, clock_ms) = self.commit(&[genesis, mark])?.batches(marks, bar, tally)?;
        let mut end = Vec::new();
        encode_checkpoint(
            &mut end,
            truth.partition,
            &Checkpoint { genesis: truth.genesis, positions: Vec::new(), clock_ms },
        );
        truth.commit(&[end]).map(drop)
    }

    /// A batch with the mark.
    fn batch(&self, clock_ms: i64, output: OutputRange, entries: &[(Digest, Bucket)]) -> Vec<u8> {
        let mut record = Vec::new();
        encode_batch(&mut record, self.partition, clock_ms, &[unfinished::mark()], output, entries);
        record
    }

    /// Reads the output up to its end as it was, and gives the window's clock there: no later than the inputs begin.
    fn batches(mut self, marks: Watermarks, bar: &Bar, tally: &mut Tally) -> Result<(Self, i64), Failure> {
        let Genesis { partition_count, seed, window, .. } = self.genesis;
        let mut output_ms = 0;
        if marks.low == marks.high {
            return Ok((self, output_ms));
        }
        let (topic, from) = (EVENTS_DEDUPED, marks.low);
        let reader = LogReader::open(self.cluster, topics::EVENTS_DEDUPED, self.partition, from, Isolation::Committed);
        let mut reader = reader.map_err(Failure::failed)?;
        let mut entries: Vec<(Digest, Bucket)> = Vec::new();
        let mut output = OutputRange { log: 0, start: from, end: from };
        let (mut moved, mut before) = (Instant::now(), Progress::default());
        loop {
            match reader.read(POLL) {
                Read::Record(message) => {
                    moved = Instant::now();
                    // The clock was no later than this when the event was decided, so no bucket becomes older by it.
                    output_ms = output_ms.max(message.appended_ms());
                    output.end = message.offset() + 1;
                    match decode(&message, self.partition, partition_count, seed).1 {
                        Ok(event) => {
                            entries.push((event.digest, window.bucket_of(event.received_at_ms, output_ms, output_ms)));
                        }
                        Err(_) => tally.foreign += 1,
                    }
                    bar.advance(&mut before, Progress { from, offset: output.end, end: marks.high, entries: 0 });
                }
                Read::OutOfRange => return Err(Failure::failed(format!("{topic} was cut while it was read"))),
                Read::Trouble(failure) => tracing::debug!(%failure, "reading the output"),
                // The marks of transactions at the end are no records; the position passes them.
                Read::End | Read::Nothing if reader.position() >= marks.high => {
                    output.end = marks.high;
                }
                Read::End | Read::Nothing => {}
            }
            let is_at_end = output.end >= marks.high;
            if entries.len() == CHANGELOG_ENTRIES_MAX || (is_at_end && !entries.is_empty()) {
                let batch = self.batch(output_ms.min(self.inputs_ms), output, &entries);
                self = self.commit(&[batch])?;
                tally.identities += entries.len() as u64;
                entries.clear();
                output.start = output.end;
            }
            if is_at_end {
                let clock_ms = output_ms.min(self.inputs_ms);
                return Ok((self, clock_ms));
            }
            if moved.elapsed() > STALL {
                return Err(Failure::failed(format!("the end of {topic} {} was not reached", self.partition)));
            }
        }
    }

    /// Writes records in one transaction.
    fn commit(self, records: &[Vec<u8>]) -> Result<Self, Failure> {
        Ok(Self { writer: self.writer.write(records).map_err(Failure::failed)?, ..self })
    }
}
