//! A second user of the rooms, as small as one can be, against real Kafka: it copies numbers from a topic to a file.
//!
//! It has what the dedup worker has, an input and a state, and what that has not: a side effect *behind* the commit. The
//! log's record says which numbers were taken; the lines of the file follow. Killed between the two, the file is behind the
//! log, and whoever takes the lane over appends what is missing.
//!
//! Goal of every test: each number lies in the file of its lane once, in its order. The faults differ.

#[path = "../../../dedup-worker/tests/kafka/brokers.rs"]
#[expect(dead_code, reason = "the brokers of the dedup worker's tests can be broken in more ways")]
mod brokers;
#[path = "../../../dedup-worker/tests/kafka/proxy.rs"]
#[expect(dead_code, reason = "they have a second way to them")]
mod proxy;

mod copied;
mod copier;
mod crash;
mod membership;
mod process;
mod scene;
