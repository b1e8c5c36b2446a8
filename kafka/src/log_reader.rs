//! One partition of one topic, read in its order from a place that the reader chooses, with a client of its own.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::reader::{Ahead, Isolation, Reader};
use crate::{At, Cluster, Failure, Item, Message, Queue};

/// Items taken off the queue at once.
const BATCH: usize = 1024;

/// What a [`LogReader`] met.
#[derive(Debug)]
pub enum Read {
    /// A record.
    Record(Message),
    /// The end of the log as it is now.
    End,
    /// Nothing within the time that was given.
    Nothing,
    /// The offset to read is not in the log: what was there has been deleted, or this is another log.
    OutOfRange,
    /// Something that librdkafka gets over by itself, if it can be got over: a broker that is away.
    Trouble(Failure),
}

/// A reader of one partition, with its own connection. It is in no group and stores no offsets.
#[derive(Debug)]
pub struct LogReader {
    partition: u32,
    items: VecDeque<Item>,
    /// What is taken off the queue passes through here.
    passing: Vec<Item>,
    queue: Queue,
    reader: Reader,
    woken: Arc<(Mutex<bool>, Condvar)>,
    /// Offset of the next record to come, as far as is known.
    position: u64,
}

impl LogReader {
    /// Reads `partition` of `topic` from `offset` on.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties, or the topic.
    pub fn open(
        cluster: &Cluster,
        topic: &CStr,
        partition: u32,
        offset: u64,
        isolation: Isolation,
    ) -> Result<Self, Failure> {
        Self::open_ahead(cluster, topic, partition, offset, isolation, Ahead::ONE)
    }

    /// The same, reading so far ahead.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_ahead(
        cluster: &Cluster,
        topic: &CStr,
        partition: u32,
        offset: u64,
        isolation: Isolation,
        ahead: Ahead,
    ) -> Result<Self, Failure> {
        let reader = Reader::open(cluster, isolation, ahead)?;
        let woken = Arc::<(Mutex<bool>, Condvar)>::default();
        let wakes = Arc::clone(&woken);
        let mut queue = reader.queue(topic, move || {
            *wakes.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
            wakes.1.notify_one();
        })?;
        queue.add(partition, At::Offset(offset))?;
        let (items, passing) = (VecDeque::new(), Vec::new());
        Ok(Self { partition, items, passing, queue, reader, woken, position: offset })
    }

    /// Goes on at `offset`, with the connection that is there. Where that is the next record to come nothing is read again.
    ///
    /// # Errors
    /// Where librdkafka refuses it; it is to be dropped then.
    pub fn go_to(&mut self, offset: u64) -> Result<(), Failure> {
        if self.position == offset {
            return Ok(());
        }
        // A partition that has nothing to hand out is not moved; it is stopped and started.
        self.queue.remove(self.partition);
        self.items.clear();
        self.position = offset;
        self.queue.add(self.partition, At::Offset(offset))
    }

    /// The next thing that happens within `timeout`.
    pub fn read(&mut self, timeout: Duration) -> Read {
        let deadline = Instant::now() + timeout;
        loop {
            match self.items.pop_front() {
                Some(Item::Record(record)) => {
                    self.position = record.offset() + 1;
                    return Read::Record(record);
                }
                Some(Item::End { offset, .. }) => {
                    self.position = self.position.max(offset);
                    return Read::End;
                }
                Some(Item::OutOfRange { .. }) => return Read::OutOfRange,
                Some(Item::Trouble { failure, .. }) => return Read::Trouble(failure),
                None => {}
            }
            self.queue.take(BATCH, &mut self.passing);
            self.items.extend(self.passing.drain(..));
            if self.items.is_empty() && !self.wait(deadline) {
                return Read::Nothing;
            }
        }
    }

    /// Waits until something is on the queue; whether there is still time.
    fn wait(&self, deadline: Instant) -> bool {
        self.reader.serve();
        let woken = self.woken.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = deadline.saturating_duration_since(Instant::now());
        let waited = self.woken.1.wait_timeout_while(woken, left, |woken| !*woken);
        let (mut woken, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *woken) || Instant::now() < deadline
    }

    /// Offset of the next record to come. Behind the end it has passed the marks that transactions leave, which are no
    /// records.
    pub fn position(&self) -> u64 {
        self.position
    }
}
