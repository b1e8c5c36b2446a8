//! Everything there is: inputs, changelog, output, and who works on them.

use std::hash::{Hash, Hasher};

use changelog::{Newest, Point, newest};
use xxhash_rust::xxh3::Xxh3;

use crate::index::Index;
use crate::input::{Cluster, Event};
use crate::lane::Transaction;
use crate::rebuild::Rebuild;
use crate::rules::{Left, Rules, START_MS};
use crate::truth::Truth;
use crate::worker::{Worker, first_record};

/// A record of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Published {
    pub(crate) event: Event,
    /// When it was appended to the output, milliseconds since the Unix epoch.
    pub(crate) at_ms: i64,
}

/// A state of the model.
#[derive(Debug, Clone)]
pub(crate) struct World {
    pub(crate) rules: Rules,
    pub(crate) left: Left,
    pub(crate) now_ms: i64,
    /// Copies of each id that were produced.
    pub(crate) copies: Vec<u8>,
    pub(crate) inputs: Vec<Cluster>,
    pub(crate) truth: Truth,
    pub(crate) output: Vec<Published>,
    /// The newest that was taken; whoever has another one commits nothing any more.
    pub(crate) fence: u8,
    /// A transaction whose owner does not know what became of it, or is gone: it may land until whoever has the next fence
    /// measures the log's end.
    pub(crate) limbo: Option<Transaction>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) rebuilds: [Rebuild; 2],
}

impl World {
    /// As it begins.
    pub(crate) fn new(rules: Rules) -> Self {
        let mut world = Self {
            rules,
            left: rules.left,
            now_ms: START_MS,
            copies: vec![0; rules.ids.into()],
            inputs: (0..rules.clusters).map(Cluster::new).collect(),
            truth: Truth::default(),
            output: Vec::new(),
            fence: 0,
            limbo: None,
            workers: vec![Worker::new(); rules.workers],
            rebuilds: [Rebuild::Idle; 2],
        };
        if !rules.is_new {
            world.left = Left::NONE;
            world = world.drained().expect("a lane is begun where nothing goes wrong");
            world.left = rules.left;
        }
        world
    }

    /// 16 bytes that stand for all of it, but for what never changes.
    pub(crate) fn key(&self) -> u128 {
        let mut hasher = Xxh3::new();
        self.hash(&mut hasher);
        hasher.digest128()
    }

    /// Commits a transaction.
    pub(crate) fn land(&mut self, transaction: &Transaction) -> Point {
        let at_ms = self.now_ms;
        self.output.extend(transaction.published.iter().map(|event| Published { event: *event, at_ms }));
        self.truth.append(&transaction.record, at_ms)
    }

    /// Begins a log that is empty.
    pub(crate) fn begin(&mut self) {
        self.truth.append(&first_record(), self.now_ms);
    }

    /// Takes the fence. What its owner of before had sent may land yet.
    pub(crate) fn take_fence(&mut self) -> u8 {
        let owner = self.workers.iter().filter_map(Worker::in_flight).find(|sent| sent.epoch == self.fence);
        if let Some(sent) = owner {
            self.limbo = Some(sent.clone());
        }
        self.fence += 1;
        self.fence
    }

    /// What was sent under an older fence than this one is settled.
    pub(crate) fn settle(&mut self, epoch: u8) {
        if epoch == self.fence && self.limbo.as_ref().is_some_and(|sent| sent.epoch < epoch) {
            self.limbo = None;
            self.truth.abort();
        }
    }

    /// What the newest record of the changelog says.
    pub(crate) fn newest(&self) -> Option<Newest> {
        newest::<_, Index>(&mut self.truth.clone()).ok().flatten()
    }
}

impl Hash for World {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        (self.left, self.now_ms, &self.copies, &self.inputs, &self.truth).hash(hasher);
        (&self.output, self.fence, &self.limbo, &self.workers, self.rebuilds).hash(hasher);
    }
}
