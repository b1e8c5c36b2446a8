//! Deleting records.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use crate::{Cluster, Failure};

/// Deletes every record of a partition that lies before `offset`.
///
/// # Errors
/// Where the cluster does not answer within `timeout`, or refuses.
pub fn delete_before(
    cluster: &Cluster,
    topic: &str,
    partition: u32,
    offset: u64,
    timeout: Duration,
) -> Result<(), Failure> {
    const OPERATION: &str = "delete records";
    let admin: AdminClient<DefaultClientContext> = cluster.config().create().map_err(Failure::of("make a client"))?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition.cast_signed(), Offset::Offset(offset.cast_signed()))
        .map_err(Failure::of(OPERATION))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let runtime = runtime.map_err(|error| Failure::new(OPERATION, error))?;
    let options = AdminOptions::new().operation_timeout(Some(timeout));
    let deleted = runtime.block_on(admin.delete_records(&list, &options)).map_err(Failure::of(OPERATION))?;
    deleted.elements().iter().try_for_each(|element| element.error().map_err(Failure::of(OPERATION)))
}
