//! The clients that read the inputs, shared by every partition of this worker.

use std::collections::BTreeMap;
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
    /// One for each queue, and one here.
    users: Arc<()>,
}

/// A queue of a shared client.
#[derive(Debug)]
pub(crate) struct Shelf {
    /// Before the count of its users.
    pub(crate) queue: Queue,
    pub(crate) reader: Reader,
    _users: Arc<()>,
}

impl Readers {
    /// None yet.
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster, clients: Mutex::default() }
    }

    /// A queue for partitions of this topic, of a client that reads no more than it should: each queue counts for one.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub(crate) fn queue(&self, facts: &TopicFacts, wake: impl Fn() + Send + Sync + 'static) -> Result<Shelf, Failure> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        for shared in clients.values_mut() {
            shared.retain(|client| Arc::strong_count(&client.users) > 1);
        }
        clients.retain(|_, shared| !shared.is_empty());
        let of_topic = clients.entry(facts.topic_id).or_default();
        let has_room = |client: &&Shared| Arc::strong_count(&client.users) <= PARTITIONS_MAX;
        let (reader, users) = if let Some(Shared { reader, users }) = of_topic.iter().find(has_room) {
            (reader.clone(), Arc::clone(users))
        } else {
            let (reader, users) = (Reader::open(&self.cluster, Isolation::Uncommitted, Ahead::MANY)?, Arc::default());
            of_topic.push(Shared { reader: reader.clone(), users: Arc::clone(&users) });
            (reader, users)
        };
        Ok(Shelf { queue: reader.queue(EVENTS, wake)?, reader, _users: users })
    }
}
