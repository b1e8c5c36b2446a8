//! The changelog made again from `events.deduped`.
//!
//! One lane after the other:
//!
//! 1. its fence is taken, so that nobody else writes;
//! 2. a mark goes behind the old changelog: proof that the fence is still ours, and from here on the lane is refused, without
//!    a fence, by whoever would own it;
//! 3. the old changelog is deleted up to the mark, and no further: a rebuild that was frozen and wakes up here must not delete
//!    what another one has finished meanwhile;
//! 4. a genesis begins the new one, with a new seed unless `fleet.seed` gives one: every index of the old one is a stranger
//!    from here on;
//! 5. the ends of the lane's partitions of the output, taken behind the mark, say how far there is to read; each record gives
//!    back its identity;
//! 6. a checkpoint ends it. A rebuild that was killed before is run again, from 1.
//!
//! A worker that took the fence back, because it had looked before the mark was there, looks again and then waits; so the
//! lane is begun again, from 1, a few times. Workers may run meanwhile: they go on with the other lanes.
//!
//! The positions of the inputs are gone: they are read from their earliest records, which are duplicates by then. They are
//! decided by the window as it was when they came, so the clock is set back to the earliest of them.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use kafka::{
    Ahead, At, Cluster, Isolation, Item, Message, PARTITIONS_MAX, Probe, Queue, Reader, Watermarks, delete_before,
};
use ownership::{LogWriter, Spec};
use service::{Failure, say};
use tracing::{debug, warn};
use wire::LaneCount;
use wire::changelog::{
    Chain, Checkpoint, Genesis, Mark, Moved, Output, encode_batch, encode_checkpoint, encode_genesis, encode_mark,
};
use wire::limits::CHANGELOG_ENTRIES_MAX;
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_RETENTION_MIN};
use wire::{Bucket, Digest};

use super::super::appended::appended_ms;
use super::super::bar::Bar;
use super::super::{TIMEOUT, lanes, now_ms, probe};
use super::chosen;
use crate::config::Config;
use crate::worker::beginning::new_genesis;
use crate::worker::decode::decode;
use crate::worker::topics;

/// Times that a lane is begun before the rebuild gives up: a worker takes the fence back once, and not again behind the mark.
const TRIES_MAX: u32 = 5;
/// Time without a record after which the output cluster counts as away.
const STALL: Duration = Duration::from_mins(1);
/// Time of one wait for records.
const WAIT: Duration = Duration::from_millis(100);
/// Items taken off a queue at once.
const TAKEN_MAX: usize = 8_192;
/// How far back an input reaches that does not answer: what `events` is kept for.
const INPUT_MS: i64 = EVENTS_RETENTION_MIN.as_millis() as i64;

/// What was made of the output.
#[derive(Debug, Default)]
struct Tally {
    identities: u64,
    foreign: u64,
}

pub(super) fn rebuild(config: &Config, only: Option<u32>) -> Result<(), Failure> {
    let (cluster, probe) = (config.output(), probe(config)?);
    // What lies in a partition that is not known of would be published again.
    let widest = |topic| probe.widest(topic).map_err(Failure::failed);
    let (index, output) = (widest(EVENTS_INDEX)?, widest(EVENTS_DEDUPED)?);
    let lanes = lanes(config, &index)?;
    for (topic, found) in [(EVENTS_INDEX, index.partition_count), (EVENTS_DEDUPED, output.partition_count)] {
        if lanes.usable(found).is_none() {
            let lanes = lanes.get();
            return Err(Failure::failed(format!("{topic} has {found} partitions and there are {lanes} lanes")));
        }
    }
    let of = chosen(lanes, only)?;
    let window = config.window().unwrap_or_default();
    // For as long as the process runs.
    let spec: &'static Spec = Box::leak(Box::new(config.spec()));
    let inputs = config.inputs();
    let bar = Bar::new();
    let begun = Instant::now();
    let (mut total, mut count) = (Tally::default(), 0);
    for lane in of {
        // No later than the inputs begin: the window's clock starts with the genesis.
        let inputs_ms = inputs.iter().map(|input| earliest_ms(input, lanes, lane)).min().unwrap_or_else(now_ms);
        let partitions: Vec<u32> = lanes.partitions(lane, output.partition_count).collect();
        let mut tries = 1;
        let tally = loop {
            let genesis = new_genesis(lanes, config.seed(), window, inputs_ms).map_err(Failure::failed)?;
            let writer = LogWriter::take(spec, lane).map_err(Failure::failed)?;
            let (cluster, partitions) = (&cluster, &partitions[..]);
            let truth = Truth { cluster, partitions, writer, lane, genesis, inputs_ms, output_ms: None };
            match truth.make(&probe, &bar) {
                Ok(tally) => break tally,
                Err(failure) if tries == TRIES_MAX => return Err(failure),
                Err(failure) => warn!(lane, %failure, "the lane is begun again"),
            }
            tries += 1;
        };
        count += 1;
        total.identities += tally.identities;
        total.foreign += tally.foreign;
        bar.say(format!("{:.0} identities/s", total.identities as f64 / begun.elapsed().as_secs_f64()));
    }
    bar.finish();
    let Tally { identities, foreign } = total;
    say(format_args!(
        "{identities} identities of {count} lanes written to {EVENTS_INDEX}; indexes are made again by themselves"
    ))?;
    if foreign > 0 {
        say(format_args!("{foreign} records of {EVENTS_DEDUPED} are not this program's and were passed over"))?;
    }
    Ok(())
}

/// When the earliest record of a lane of an input was appended, milliseconds since the Unix epoch; now where there is none; as
/// far back as records are kept where that is not told.
fn earliest_ms(input: &Cluster, lanes: LaneCount, lane: u32) -> i64 {
    let earliest = || -> Option<i64> {
        let probe = Probe::new(input, TIMEOUT).ok()?;
        let count = probe.widest(EVENTS).ok()?.partition_count;
        let partitions: Vec<u32> = lanes.partitions(lane, count).collect();
        let ends = probe.ends(EVENTS, partitions.iter().copied()).ok()?;
        let firsts: Vec<_> = ends.iter().filter(|(_, marks)| marks.low < marks.high).collect();
        let firsts: Vec<_> = firsts.into_iter().map(|(partition, marks)| (*partition, marks.low)).collect();
        let appended = appended_ms(input, &firsts, TIMEOUT).ok()?;
        let is_told = ends.len() == partitions.len() && appended.len() == firsts.len();
        is_told.then(|| appended.into_values().min().unwrap_or_else(now_ms))
    };
    earliest().unwrap_or_else(|| now_ms() - INPUT_MS)
}

/// One lane's new changelog on its way.
struct Truth<'a> {
    cluster: &'a Cluster,
    /// Of the output.
    partitions: &'a [u32],
    writer: LogWriter,
    lane: u32,
    genesis: Genesis,
    /// Where the clock stands from which the inputs are read again: later records must not have moved it on.
    inputs_ms: i64,
    /// When the newest record of the output that was read was appended; `None` before the first.
    output_ms: Option<i64>,
}

/// The output of a lane, read side by side.
struct Outputs {
    queues: Vec<Queue>,
    woken: Receiver<()>,
    items: Vec<Item>,
}

/// What is read of one partition of the output.
struct Part {
    /// Where it began.
    low: u64,
    /// Where it ended when the mark was there.
    high: u64,
    /// How far it is read.
    next: u64,
    entries: Vec<(Digest, Bucket)>,
}

impl Truth<'_> {
    /// Makes it, from the output as it is behind the mark.
    fn make(self, probe: &Probe, bar: &Bar) -> Result<Tally, Failure> {
        let mut truth = self.claim()?;
        let (lane, genesis, mut tally) = (truth.lane, truth.genesis, Tally::default());
        truth = truth.write(false, |chain, record| encode_genesis(record, lane, chain, &genesis))?;
        let ends = probe.ends(EVENTS_DEDUPED, truth.partitions.iter().copied()).map_err(Failure::failed)?;
        let mut parts = BTreeMap::new();
        for partition in truth.partitions {
            let marks = ends.get(partition).copied();
            let Watermarks { low, high } =
                marks.ok_or_else(|| Failure::failed(format!("{EVENTS_DEDUPED} {partition} does not answer")))?;
            if low < high {
                parts.insert(*partition, Part { low, high, next: low, entries: Vec::new() });
            }
        }
        bar.expect(parts.values().map(|part| part.high - part.low).sum());
        truth = truth.batches(parts, bar, &mut tally)?;
        let (genesis, clock_ms) = (truth.genesis, truth.clock_ms());
        let end = Checkpoint { genesis, positions: Vec::new(), clock_ms };
        truth.write(true, |chain, record| encode_checkpoint(record, lane, chain, &end))?;
        Ok(tally)
    }

    /// Marks the old changelog, and deletes it up to the mark. What comes behind it is not the old owner's, nor is what comes
    /// before it a truth any more.
    fn claim(self) -> Result<Self, Failure> {
        let mut rebuild = [0; 16];
        getrandom::fill(&mut rebuild).map_err(Failure::failed)?;
        let (lane, mark) = (self.lane, Mark { rebuild, created_ms: now_ms() });
        let truth = self.write(false, |_, record| encode_mark(record, lane, &mark))?;
        let deleted = delete_before(truth.cluster, EVENTS_INDEX, lane, truth.writer.end() - 1, TIMEOUT);
        deleted.map_err(|failure| Failure::failed(format!("{EVENTS_INDEX} {lane}: {failure}")))?;
        Ok(truth)
    }

    /// The window's clock at what was read. Of an output that holds nothing it is where the inputs begin: a clock that began at
    /// zero would enter every day since then, each by a commit, before anything is read.
    fn clock_ms(&self) -> i64 {
        self.output_ms.map_or(self.inputs_ms, |output_ms| output_ms.min(self.inputs_ms))
    }

    /// Reads the output up to its ends as they were.
    fn batches(mut self, mut parts: BTreeMap<u32, Part>, bar: &Bar, tally: &mut Tally) -> Result<Self, Failure> {
        let mut outputs = Outputs::open(self.cluster, &parts)?;
        let mut moved = Instant::now();
        while !parts.is_empty() {
            for item in outputs.take() {
                moved = Instant::now();
                let partition = item.partition();
                let Some(part) = parts.get_mut(&partition) else { continue };
                let was = part.next;
                match item {
                    Item::Record(record) => {
                        part.next = (record.offset() + 1).max(part.next);
                        self.take(&record, part, tally);
                    }
                    // The marks of transactions at the end are no records; the position passes them.
                    Item::End { offset, .. } => part.next = offset.max(part.next),
                    Item::OutOfRange { .. } => {
                        return Err(Failure::failed(format!("{EVENTS_DEDUPED} {partition} was cut while it was read")));
                    }
                    Item::Trouble { failure, .. } => debug!(partition, %failure, "reading the output"),
                }
                bar.inc(part.next.min(part.high) - was.min(part.high));
                let is_at_end = part.next >= part.high;
                if part.entries.len() == CHANGELOG_ENTRIES_MAX || (is_at_end && !part.entries.is_empty()) {
                    let entries = std::mem::take(&mut part.entries);
                    self = self.batch(partition, &entries)?;
                    tally.identities += entries.len() as u64;
                }
                if is_at_end {
                    parts.remove(&partition);
                }
            }
            if moved.elapsed() > STALL {
                let left: Vec<_> = parts.keys().collect();
                return Err(Failure::failed(format!("the end of {EVENTS_DEDUPED} was not reached in {left:?}")));
            }
        }
        Ok(self)
    }

    /// Takes the identity of a record of the output.
    fn take(&mut self, record: &Message, part: &mut Part, tally: &mut Tally) {
        let Genesis { lanes, seed, window, .. } = self.genesis;
        let appended_ms = record.appended_ms();
        self.output_ms = self.output_ms.max(Some(appended_ms));
        // It was written once.
        match decode(record, self.lane, lanes, seed, usize::MAX).1 {
            // The clock was no later than this when the event was decided, so no bucket becomes older by it.
            Ok(event) => {
                let bucket = window.bucket_of(event.received_at_ms, appended_ms, appended_ms);
                part.entries.push((event.digest, bucket));
            }
            Err(_) => tally.foreign += 1,
        }
    }

    fn batch(self, partition: u32, entries: &[(Digest, Bucket)]) -> Result<Self, Failure> {
        let (lane, clock_ms) = (self.lane, self.clock_ms());
        let none = Moved { positions: &[], is_all: false };
        self.write(false, |chain, record| {
            encode_batch(record, (lane, chain), clock_ms, none, Output::Partition(partition), entries);
        })
    }

    /// Writes a record in a transaction of its own.
    fn write(self, has_all_positions: bool, encode: impl FnOnce(Chain, &mut Vec<u8>)) -> Result<Self, Failure> {
        let writer = self.writer.write(has_all_positions, encode).map_err(Failure::failed)?;
        Ok(Self { writer, ..self })
    }
}

impl Outputs {
    fn open(cluster: &Cluster, parts: &BTreeMap<u32, Part>) -> Result<Self, Failure> {
        let (wake, woken) = sync_channel(1);
        let parts: Vec<_> = parts.iter().map(|(partition, part)| (*partition, part.low)).collect();
        let open = |parts: &[(u32, u64)]| -> Result<Queue, kafka::Failure> {
            let reader = Reader::open(cluster, Isolation::Committed, Ahead::MANY)?;
            let wake = wake.clone();
            let mut queue = reader.queue(topics::EVENTS_DEDUPED, move || wake.try_send(()).unwrap_or_default())?;
            for (partition, low) in parts {
                queue.add(*partition, At::Offset(*low))?;
            }
            Ok(queue)
        };
        let queues: Result<_, _> = parts.chunks(PARTITIONS_MAX).map(open).collect();
        Ok(Self { queues: queues.map_err(Failure::failed)?, woken, items: Vec::new() })
    }

    /// What has come; waits a while where there is nothing.
    fn take(&mut self) -> Vec<Item> {
        let mut may_be_more = false;
        for queue in &mut self.queues {
            may_be_more |= queue.take(TAKEN_MAX, &mut self.items);
        }
        if self.items.is_empty() && !may_be_more {
            // Nothing within the time is no fault; who waits for too long is told above.
            let _ = self.woken.recv_timeout(WAIT);
        }
        std::mem::take(&mut self.items)
    }
}
