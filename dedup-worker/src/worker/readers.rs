//! The clients that read the inputs, shared by every lane of this worker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use kafka::{Ahead, Cluster, Failure, Isolation, PARTITIONS_MAX, Queue, Reader, TopicFacts};

use super::topics::EVENTS;

/// The clients of one cluster.
#[derive(Debug)]
pub struct Readers {
    cluster: Cluster,
    /// By the topic's id: a client that is at work when a topic is made anew carries its offsets silently into the new one.
    clients: Mutex<BTreeMap<[u8; 16], Vec<Shared>>>,
}

#[derive(Debug)]
struct Shared {
    reader: Reader,
    /// Partitions that are read with it. One is held here and one by each queue.
    partitions: Arc<AtomicUsize>,
}

/// A queue of a shared client.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// Before what it counts for.
    pub(crate) queue: Queue,
    pub(crate) reader: Reader,
    _share: Share,
}

/// What a queue counts for.
#[derive(Debug)]
struct Share {
    partitions: Arc<AtomicUsize>,
    mine: usize,
}

impl Share {
    fn of(partitions: &Arc<AtomicUsize>, mine: usize) -> Self {
        partitions.fetch_add(mine, Relaxed);
        Self { partitions: Arc::clone(partitions), mine }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.partitions.fetch_sub(self.mine, Relaxed);
    }
}

impl Readers {
    /// None yet.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, clients: Mutex::default() }
    }

    /// A queue for so many partitions of this topic, of a client that reads no more than it should.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub(crate) fn queue(
        &self,
        facts: &TopicFacts,
        partitions: usize,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Shelf, Failure> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        for shared in clients.values_mut() {
            shared.retain(|client| Arc::strong_count(&client.partitions) > 1);
        }
        clients.retain(|_, shared| !shared.is_empty());
        let of_topic = clients.entry(facts.topic_id).or_default();
        let has_room = |client: &&Shared| client.partitions.load(Relaxed) + partitions <= PARTITIONS_MAX;
        let (reader, share) = if let Some(Shared { reader, partitions: all }) = of_topic.iter().find(has_room) {
            (reader.clone(), Share::of(all, partitions))
        } else {
            let lanes = facts.partition_count / (partitions as u32).max(1);
            let ahead = Ahead::of(facts.partition_count, lanes);
            let (reader, all) = (Reader::open(&self.cluster, Isolation::Uncommitted, ahead)?, Arc::default());
            of_topic.push(Shared { reader: reader.clone(), partitions: Arc::clone(&all) });
            (reader, Share::of(&all, partitions))
        };
        Ok(Shelf { queue: reader.queue(EVENTS, wake)?, reader, _share: share })
    }
}
