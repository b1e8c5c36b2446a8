//! When records of an input were appended, asked of many partitions at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use kafka::{Ahead, At, Cluster, Failure, Isolation, Item, PARTITIONS_MAX, Reader};

use crate::worker::topics::EVENTS;

/// Items taken off a queue at once.
const TAKEN_MAX: usize = 1_024;

/// When the record at an offset of each partition was appended, milliseconds since the Unix epoch; the next one that is there,
/// where that is gone. Of a partition that did not tell within `limit` there is nothing.
///
/// # Errors
/// Where librdkafka does not take the cluster's properties.
pub(super) fn appended_ms(
    cluster: &Cluster,
    records: &[(u32, u64)],
    limit: Duration,
) -> Result<BTreeMap<u32, i64>, Failure> {
    let deadline = Instant::now() + limit;
    let (wake, woken) = sync_channel::<()>(1);
    let wake = Arc::new(move || wake.try_send(()).unwrap_or_default());
    let mut queues = Vec::new();
    for part in records.chunks(PARTITIONS_MAX) {
        let reader = Reader::open(cluster, Isolation::Uncommitted, Ahead::MANY)?;
        let wake = Arc::clone(&wake);
        let mut queue = reader.queue(EVENTS, move || wake())?;
        for (partition, offset) in part {
            queue.add(*partition, At::Offset(*offset))?;
        }
        queues.push(queue);
    }
    let (mut appended, mut items) = (BTreeMap::new(), Vec::new());
    loop {
        for queue in &mut queues {
            while queue.take(TAKEN_MAX, &mut items) {}
        }
        for item in items.drain(..) {
            if let Item::Record(record) = item {
                appended.entry(record.partition()).or_insert_with(|| record.appended_ms());
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if appended.len() == records.len() || woken.recv_timeout(left).is_err() {
            return Ok(appended);
        }
    }
}
