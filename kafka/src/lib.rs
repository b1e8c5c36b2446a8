//! All of Kafka: what is said to librdkafka, the reason beside it, and every line of unsafe code towards it.
//!
//! | module | what it is |
//! |---|---|
//! | [`Cluster`] | brokers and properties as the settings name them, and what every client begins with |
//! | [`Producer`] | hands over records, lends their values, waits without spinning |
//! | [`Fenced`] | a transactional producer: who took it last is the only one that can commit |
//! | [`Reader`] | many partitions with one client, each into the [`Queue`] of whoever wants it; each [`Message`] as it came |
//! | [`LogReader`] | one partition, read in its order to an end |
//! | [`Group`] | a membership: who should own which partition |
//! | [`Probe`] | questions: ends of partitions and their offsets at a time, topics by their ids, members of a group |
//! | [`Watch`] | looks at a cluster again and again, and tells what it saw |
//! | [`Leadership`] | tells when leaders and in-sync replicas last changed: the cluster is at work, not frozen |
//!
//! # The producer
//!
//! ```text
//!  caller ──produce(record, token)──▶ librdkafka ──▶ broker
//!     ▲      value lent, key and headers copied           │
//!     └── serve: reports (token, offset or error) ◀───────┘
//! ```
//!
//! rdkafka makes the client; two of its habits are why the rest is done here:
//!
//! - Its `send` copies each value, and allocates for the topic's name, which librdkafka then looks up, once a record.
//!   [`Producer::produce`] lends the value and remembers the topics.
//! - Its `poll` does not return before its time is over, and *spins* for the last millisecond of it, because what is left
//!   rounds to no time at all. A thread that polled by the millisecond kept a core busy with 5,000 records a second.
//!   [`Producer::serve`] sleeps until there is something, takes all there is, and returns.
//!
//! Nobody but the owner may poll the client that rdkafka made: events would go to the context and reports with them.
//! The one exception is the end, [`Producer::close`].

mod cluster;
mod complaint;
mod context;
mod events;
mod facts;
mod failure;
mod fenced;
mod group;
mod handle;
mod judgement;
mod leadership;
mod log_reader;
mod members;
mod message;
mod offsets;
mod probe;
mod producer;
mod queue;
mod reader;
mod record;
mod records;
mod request;
mod settings;
mod topics;
mod watch;

pub use cluster::{BATCH_BYTES, Cluster, Sending};
pub use facts::{Facts, TopicFacts, Watermarks};
pub use failure::Failure;
pub use fenced::{Delivered, Fenced, Kind, Outgoing, Prepared};
pub use group::{Group, Membership, Told};
pub use judgement::Judgement;
pub use leadership::Leadership;
pub use log_reader::{LogReader, Read};
pub use members::Member;
pub use message::Message;
pub use probe::Probe;
pub use producer::{Producer, Report};
pub use queue::{At, Item, Queue};
pub use rdkafka::types::RDKafkaErrorCode as Code;
pub use reader::{Ahead, Isolation, PARTITIONS_MAX, Reader};
pub use record::{Headers, Record};
pub use records::delete_before;
pub use settings::TopicSettings;
pub use watch::{Hurry, Look, Watch};
