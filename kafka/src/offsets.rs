//! Asking for one offset of each of many partitions: one request to each broker that leads any of them.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::bindings as rd;
use rdkafka::consumer::BaseConsumer;
use rdkafka::{Offset, TopicPartitionList};

use crate::Failure;
use crate::complaint::Asking;
use crate::reader::Isolation;
use crate::request::{NO_ERROR, Request, array, error};

/// How long after its time a request that a broker did not answer comes back: librdkafka looks for them once a second. Only
/// then does it tell what the others said.
const LATE: Duration = Duration::from_millis(1500);

/// The question, on its way.
pub(crate) struct Offsets<'c> {
    request: Request<'c>,
    timeout: Duration,
}

impl<'c> Offsets<'c> {
    /// Asks, for partitions that are named once each, where they begin or end, or for the first record appended at or
    /// after a time, which is what an [`Offset::Offset`] stands for here.
    ///
    /// Who leads a partition is not asked, but taken from what the client knows.
    #[expect(unsafe_code, reason = "the request is not in the safe interface")]
    pub(crate) fn ask(
        client: &'c BaseConsumer<Asking>,
        topic: &str,
        partitions: impl Iterator<Item = (u32, Offset)>,
        isolation: Isolation,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        const OPERATION: &str = "ask for the offsets of partitions";
        let mut list = TopicPartitionList::new();
        for (partition, of) in partitions {
            // Kafka has no more partitions than this, so the others are simply not there.
            let Ok(partition) = i32::try_from(partition) else { continue };
            list.add_partition_offset(topic, partition, of).map_err(Failure::of(OPERATION))?;
        }
        let kind = rd::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_LISTOFFSETS;
        let request = Request::new(client, kind, OPERATION, timeout)?.seeing(isolation)?;
        let (client, options, queue) = request.parts();
        // SAFETY: all of it is alive, and librdkafka copies what it needs after this call.
        unsafe { rd::rd_kafka_ListOffsets(client, list.ptr(), options, queue) };
        Ok(Self { request, timeout })
    }

    /// The offsets, -1 where there is no such record. Of a partition that nobody leads, or whose leader does not answer or
    /// answers with an error, there is none.
    #[expect(unsafe_code, reason = "the answer is not in the safe interface")]
    pub(crate) fn answer(self) -> Result<BTreeMap<u32, i64>, Failure> {
        let event = self.request.answer(self.timeout + LATE)?;
        if let Some((code, detail)) = error(&event) {
            // Nobody leads any of them.
            if code == rd::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__NOENT {
                return Ok(BTreeMap::new());
            }
            return Err(self.request.failure(&detail));
        }
        let mut count = 0;
        // SAFETY: the event is alive, and with it what it lends, which is read before it goes.
        let offsets = unsafe {
            let result = rd::rd_kafka_event_ListOffsets_result(event.get());
            let first = rd::rd_kafka_ListOffsets_result_infos(result, &raw mut count);
            array(first, count).iter().filter_map(|info| offset(*info)).collect()
        };
        Ok(offsets)
    }
}

/// What is said of one partition.
///
/// # Safety
/// It is alive.
#[expect(unsafe_code, reason = "the answer is not in the safe interface")]
unsafe fn offset(info: *const rd::rd_kafka_ListOffsetsResultInfo_t) -> Option<(u32, i64)> {
    // SAFETY: the caller gives one that is alive, and with it what it lends, which is read at once. The code is read as a
    // number, since a broker may send one that this program has no name for.
    let (partition, offset, code) = unsafe {
        let place = rd::rd_kafka_ListOffsetsResultInfo_topic_partition(info);
        ((*place).partition, (*place).offset, (&raw const (*place).err).cast::<i32>().read())
    };
    // One whose leader did not answer has no error, and an offset that is none.
    let is_told = code == NO_ERROR as i32 && offset >= -1;
    is_told.then_some((partition.cast_unsigned(), offset))
}
