//! A queue of a [`Reader`]: the partitions of one owner, read beside each other.

use std::ffi::{CStr, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as rd;
use rdkafka::types::{RDKafkaErrorCode as Code, RDKafkaRespErr};

use crate::reader::Client;
use crate::{Failure, Message};

/// Records taken from librdkafka in one call.
const BATCH: usize = 512;
const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

/// What came off a queue, of one partition.
#[derive(Debug)]
pub enum Item {
    /// A record.
    Record(Message),
    /// The log ends before this offset, as it is now.
    End {
        /// Which partition.
        partition: u32,
        /// Behind the last record, and the marks of transactions behind that.
        offset: u64,
    },
    /// The offset to be read is not in the log: what was there has been deleted, or this is another log. Nothing more
    /// comes of the partition before it is [moved](Queue::seek).
    OutOfRange {
        /// Which partition.
        partition: u32,
    },
    /// Something that librdkafka gets over by itself, if it can be got over.
    Trouble {
        /// Which partition.
        partition: u32,
        /// What it said.
        failure: Failure,
    },
}

impl Item {
    /// Which partition it is of.
    pub fn partition(&self) -> u32 {
        match self {
            Self::Record(record) => record.partition(),
            Self::End { partition, .. } | Self::OutOfRange { partition } | Self::Trouble { partition, .. } => {
                *partition
            }
        }
    }
}

/// Where reading begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// At this offset.
    Offset(u64),
    /// At the earliest record that is there.
    Earliest,
}

impl At {
    fn raw(self) -> i64 {
        match self {
            Self::Offset(offset) => offset.cast_signed(),
            Self::Earliest => i64::from(rd::RD_KAFKA_OFFSET_BEGINNING),
        }
    }
}

type Wake = Box<dyn Fn() + Send + Sync>;

/// Partitions of one topic, read into one queue.
pub struct Queue {
    native: NonNull<rd::rd_kafka_queue_t>,
    topic: NonNull<rd::rd_kafka_topic_t>,
    /// Partitions that were added and not removed.
    partitions: Vec<u32>,
    taken: Vec<*mut rd::rd_kafka_message_t>,
    /// librdkafka calls it, by its address.
    _wake: Box<Wake>,
    client: Arc<Client>,
}

// SAFETY: librdkafka locks its queues and topics; the list of pointers is empty between calls.
#[expect(unsafe_code, reason = "a pointer says nothing of threads")]
unsafe impl Send for Queue {}

impl Queue {
    #[expect(unsafe_code, reason = "the simple interface is not in the safe one")]
    pub(crate) fn new(client: Arc<Client>, topic: &CStr, wake: Wake) -> Result<Self, Failure> {
        let topic =
            client.topic(topic).ok_or_else(|| Failure::new("make a queue", "librdkafka takes no such topic"))?;
        // SAFETY: the client lives as long as the queue, as the order of the fields has it.
        let queue = NonNull::new(unsafe { rd::rd_kafka_queue_new(client.native()) });
        let queue = queue.ok_or_else(|| Failure::new("make a queue", "no memory"))?;
        let wake = Box::new(wake);
        // SAFETY: the closure has an address of its own, which stays until `drop` has switched the call off.
        unsafe {
            let it: *const Wake = &raw const *wake;
            rd::rd_kafka_queue_cb_event_enable(queue.as_ptr(), Some(woken), it.cast_mut().cast::<c_void>());
        }
        let taken = vec![ptr::null_mut(); BATCH];
        Ok(Self { native: queue, topic, partitions: Vec::new(), taken, _wake: wake, client })
    }

    /// Reads `partition` from `from` on, and returns at once. It need not be there yet: it is read when it is. Trouble with
    /// it comes off the queue.
    ///
    /// # Errors
    /// Where librdkafka refuses it.
    #[expect(unsafe_code, reason = "the simple interface is not in the safe one")]
    pub fn add(&mut self, partition: u32, from: At) -> Result<(), Failure> {
        let (topic, queue) = (self.topic.as_ptr(), self.native.as_ptr());
        // SAFETY: topic and queue live as long as `self`.
        let refused =
            unsafe { rd::rd_kafka_consume_start_queue(topic, partition.cast_signed(), from.raw(), queue) == -1 };
        if refused {
            // SAFETY: it reads what the call before it left for this thread.
            let code = Code::from(unsafe { rd::rd_kafka_last_error() });
            return Err(Failure::new("read a partition", format!("partition {partition}: {code}")));
        }
        if !self.partitions.contains(&partition) {
            self.partitions.push(partition);
        }
        Ok(())
    }

    /// Goes on at another offset. What comes off the queue afterwards was read there.
    ///
    /// # Errors
    /// Where librdkafka refuses it.
    #[expect(unsafe_code, reason = "the simple interface is not in the safe one")]
    pub fn seek(&mut self, partition: u32, to: At) -> Result<(), Failure> {
        // SAFETY: the topic lives as long as `self`. Without a time it does not wait.
        let code = unsafe { rd::rd_kafka_seek(self.topic.as_ptr(), partition.cast_signed(), to.raw(), 0) };
        match Code::from(code) {
            Code::NoError => Ok(()),
            code => Err(Failure::new("move in a partition", format!("partition {partition}: {code}"))),
        }
    }

    /// Reads it no longer. Nothing of it comes off the queue afterwards.
    #[expect(unsafe_code, reason = "the simple interface is not in the safe one")]
    pub fn remove(&mut self, partition: u32) {
        if let Some(place) = self.partitions.iter().position(|had| *had == partition) {
            self.partitions.swap_remove(place);
            // SAFETY: the topic lives as long as `self`.
            unsafe { rd::rd_kafka_consume_stop(self.topic.as_ptr(), partition.cast_signed()) };
        }
    }

    /// Partitions that are read, in no order.
    pub fn partitions(&self) -> &[u32] {
        &self.partitions
    }

    /// Takes what is on the queue now, without waiting, `max` items or a few more, and adds it to `out`; whether more may be
    /// there, for which nobody is woken again.
    #[expect(unsafe_code, reason = "the simple interface is not in the safe one")]
    pub fn take(&mut self, max: usize, out: &mut Vec<Item>) -> bool {
        let begun = out.len();
        while out.len() - begun < max {
            // Asked for more than there is it would wait for it, but for a time-out of none.
            // SAFETY: the queue lives as long as `self`; it writes no more pointers than it is told there is room for.
            let count = unsafe {
                rd::rd_kafka_consume_batch_queue(self.native.as_ptr(), 0, self.taken.as_mut_ptr(), self.taken.len())
            };
            let Ok(count @ 1..) = usize::try_from(count) else { return false };
            for place in 0..count {
                let message = std::mem::replace(&mut self.taken[place], ptr::null_mut());
                // SAFETY: each message that was handed out is ours to destroy, and handed out once.
                out.extend(unsafe { item(message, &self.client) });
            }
        }
        true
    }

    /// Where a partition ended when its broker last said so; asks nobody.
    #[expect(unsafe_code, reason = "the ends that librdkafka remembers are not in the safe interface")]
    pub fn known_end(&self, partition: u32) -> Option<u64> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: topic and client live as long as `self`, the others as long as the call.
        let known = unsafe {
            let topic = rd::rd_kafka_topic_name(self.topic.as_ptr());
            let (client, partition) = (self.client.native(), partition.cast_signed());
            rd::rd_kafka_get_watermark_offsets(client, topic, partition, &raw mut low, &raw mut high)
        };
        (known == NO_ERROR).then(|| u64::try_from(high).ok()).flatten()
    }
}

/// What librdkafka handed out.
///
/// # Safety
/// The message is alive and the caller's to give away.
#[expect(unsafe_code, reason = "the message is librdkafka's")]
unsafe fn item(message: *mut rd::rd_kafka_message_t, client: &Arc<Client>) -> Option<Item> {
    // SAFETY: the caller says so. From here on it is destroyed once, by this value.
    let message = unsafe { Message::new(NonNull::new(message)?, Arc::clone(client)) };
    let (partition, offset) = (message.partition(), message.offset());
    Some(match message.error() {
        Code::NoError => Item::Record(message),
        Code::PartitionEOF => Item::End { partition, offset },
        Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::LogTruncation => Item::OutOfRange { partition },
        code => Item::Trouble { partition, failure: Failure::new("read a partition", code) },
    })
}

#[expect(unsafe_code, reason = "librdkafka calls it")]
unsafe extern "C" fn woken(_: *mut rd::rd_kafka_t, wake: *mut c_void) {
    // SAFETY: it is the closure that `new` gave away, which lives until the call is switched off.
    if let Some(wake) = unsafe { wake.cast::<Wake>().as_ref() } {
        wake();
    }
}

impl Drop for Queue {
    #[expect(unsafe_code, reason = "the queue is librdkafka's")]
    fn drop(&mut self) {
        for partition in std::mem::take(&mut self.partitions) {
            // SAFETY: the topic lives as long as the client, which is dropped after this.
            unsafe { rd::rd_kafka_consume_stop(self.topic.as_ptr(), partition.cast_signed()) };
        }
        // SAFETY: the queue is alive. The first takes the queue's lock, under which the call is made, so nobody is in the
        // closure when it returns.
        unsafe {
            rd::rd_kafka_queue_cb_event_enable(self.native.as_ptr(), None, ptr::null_mut());
            rd::rd_kafka_queue_destroy(self.native.as_ptr());
        }
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("partitions", &self.partitions).finish_non_exhaustive()
    }
}
