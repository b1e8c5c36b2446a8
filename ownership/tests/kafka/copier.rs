//! The copier's work: numbers from a partition of the input into the log, and behind the commit into a file.

use std::convert::Infallible;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use changelog::{Positions, Restored};
use kafka::{Ahead, At, Cluster, Isolation, Item, Message, Outgoing, Probe, Queue, Reader, TopicFacts};
use ownership::{Batch, Committed, Fault, Gathered, Waker, Work};
use wire::changelog::{
    Chain, Checkpoint, Genesis, Moved, Output, Position, encode_batch, encode_checkpoint, encode_genesis,
};
use wire::{Bucket, Digest, DigestSeed, LaneCount, Window};

use super::brokers::LANES;
use super::copied::Copied;

/// Numbers of a batch at most, so that there are many.
const BATCH: usize = 10;
/// Between two looks.
const IDLE: Duration = Duration::from_millis(10);
/// Time for an answer.
const ANSWER: Duration = Duration::from_secs(10);

pub(crate) const INPUT: &str = "events";

/// One lane's.
pub(crate) struct Copier {
    cluster: Cluster,
    facts: TopicFacts,
    lane: u32,
    reader: Reader,
    waker: Waker,
    file: PathBuf,
    /// While it is there this host is not fit.
    unfit: PathBuf,
    /// While it is there the loop of a lane stands still.
    held: PathBuf,
    queue: Option<Queue>,
    waiting: Vec<Message>,
    genesis: Option<Genesis>,
    positions: Positions,
}

/// Numbers on their way.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    lane: u32,
    list: Vec<u64>,
    positions: Positions,
}

impl Copier {
    /// One whose file is in the folder `copies`; `folder` is its process's own.
    pub(crate) fn new(cluster: &Cluster, copies: &Path, folder: &Path, lane: u32, waker: Waker) -> Self {
        let facts = Probe::new(cluster, ANSWER).unwrap().topic(INPUT).unwrap();
        let reader = Reader::open(cluster, Isolation::Uncommitted, Ahead::MANY).unwrap();
        let (file, unfit, held) = (file(copies, lane), unfit(folder), held(folder));
        let (cluster, waiting, positions) = (cluster.clone(), Vec::new(), Positions::default());
        Self { cluster, facts, lane, reader, waker, file, unfit, held, queue: None, waiting, genesis: None, positions }
    }

    /// Appends the numbers that the log has and the file has not. A line that was cut by a crash is written again. Two owners,
    /// of whom one has just lost the lane, write the same bytes to the same place.
    fn append(&self, numbers: &[u64]) {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let has = text[..whole].lines().count();
        let Some(missing) = numbers.get(has..) else { return };
        let missing: Vec<u8> = missing.iter().flat_map(|number| format!("{number}\n").into_bytes()).collect();
        let file = File::options().create(true).truncate(false).write(true).open(&self.file).unwrap();
        file.write_all_at(&missing, whole as u64).unwrap();
    }

    fn accept_host(&self) -> Result<(), Fault> {
        if self.unfit.exists() { Err(Fault::RefusedHere("this host is not fit".into())) } else { Ok(()) }
    }
}

/// The file that holds up the lanes of a process.
pub(crate) fn held(folder: &Path) -> PathBuf {
    folder.join("held")
}

/// The file that makes the host of a process unfit.
pub(crate) fn unfit(folder: &Path) -> PathBuf {
    folder.join("unfit")
}

/// The file of a lane.
pub(crate) fn file(folder: &Path, lane: u32) -> PathBuf {
    folder.join(format!("copy-{lane}"))
}

impl Work for Copier {
    type State = Copied;
    type Batch = Numbers;

    fn fault(error: Infallible) -> Fault {
        match error {}
    }

    fn settings(&self) -> &() {
        &()
    }

    fn begin(&mut self, _: &Probe) -> Result<Genesis, Fault> {
        self.accept_host()?;
        let lanes = LaneCount::try_new(LANES).unwrap();
        Ok(Genesis { lanes, seed: DigestSeed(1), window: Window::default(), created_ms: 0 })
    }

    fn accept(&self, _: &Genesis) -> Result<(), Fault> {
        self.accept_host()
    }

    fn genesis(&self, genesis: &Genesis, record: &mut Vec<u8>) {
        encode_genesis(record, self.lane, Chain::default(), genesis);
    }

    fn restored(&mut self, genesis: Genesis, restored: &mut Restored<Copied>) -> Result<(), Fault> {
        self.append(&restored.state.numbers);
        (self.genesis, self.positions) = (Some(genesis), std::mem::take(&mut restored.positions));
        self.waiting.clear();
        let position = self.positions.of(self.facts.cluster_id.as_bytes(), self.facts.topic_id, self.lane);
        let waker = self.waker.clone();
        let mut queue = self.reader.queue(c"events", move || waker.wake())?;
        queue.add(self.lane, position.map_or(At::Earliest, |position| At::Offset(position.next_offset)))?;
        self.queue = Some(queue);
        Ok(())
    }

    fn gather(&mut self, _: &mut Copied, batch: &mut Numbers, _: bool) -> Result<Gathered, Fault> {
        while self.held.exists() {
            thread::sleep(IDLE);
        }
        let Some(queue) = &mut self.queue else { return Err(Fault::Released) };
        let mut items = Vec::new();
        queue.take(BATCH, &mut items);
        self.waiting.extend(items.into_iter().filter_map(|item| match item {
            Item::Record(record) => Some(record),
            _ => None,
        }));
        batch.lane = self.lane;
        let count = self.waiting.len().min(BATCH);
        for record in self.waiting.drain(..count) {
            batch.list.push(std::str::from_utf8(record.value().unwrap()).unwrap().parse().unwrap());
            let TopicFacts { cluster_id, topic_id, .. } = &self.facts;
            let position = Position {
                partition: self.lane,
                leader_epoch: record.leader_epoch(),
                next_offset: record.offset() + 1,
                appended_ms: record.appended_ms(),
            };
            self.positions.advance(cluster_id.as_bytes(), *topic_id, position);
        }
        batch.positions.clone_from(&self.positions);
        Ok(if batch.list.is_empty() { Gathered::Wait(IDLE) } else { Gathered::Ready })
    }

    fn checkpoint(&mut self, chain: Chain, record: &mut Vec<u8>) {
        let genesis = self.genesis.unwrap();
        let positions = self.positions.as_slice().to_vec();
        encode_checkpoint(record, self.lane, chain, &Checkpoint { genesis, positions, clock_ms: 0 });
    }

    fn checkpointed(&mut self, state: &mut Copied, at: Committed) -> Result<(), Fault> {
        state.committed(&[], at.point);
        Ok(())
    }

    fn committed(&mut self, state: &mut Copied, batch: &mut Numbers, at: Committed) -> Result<(), Fault> {
        state.committed(&batch.list, at.point);
        self.append(&state.numbers);
        Ok(())
    }

    fn tend(&mut self, _: &mut Copied, _: bool) -> Result<(), Fault> {
        self.reader.serve();
        Ok(())
    }

    fn release(&mut self, _: Copied) {
        self.queue = None;
        tracing::debug!(cluster = self.cluster.name(), "a copier goes");
    }
}

impl Batch for Numbers {
    fn outputs(&self) -> impl Iterator<Item = Outgoing<'_>> {
        std::iter::empty()
    }

    fn record(&self, chain: Chain, record: &mut Vec<u8>) {
        let entries: Vec<_> = self.list.iter().map(|number| (Digest(u128::from(*number)), Bucket(1))).collect();
        let moved = Moved { positions: self.positions.as_slice(), is_all: true };
        encode_batch(record, (self.lane, chain), 0, moved, Output::None, &entries);
    }

    fn has_all_positions(&self) -> bool {
        true
    }

    fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn clear(&mut self) {
        self.list.clear();
    }
}
