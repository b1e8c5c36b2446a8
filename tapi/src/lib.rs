//! Events over HTTP into a local buffer, and out to one of two Kafka clusters.
//!
//! # The path of one event
//!
//! 1. [`ingest`] takes it, appends it to the local buffer, and answers 200 once it is durable.
//! 2. `forward` drains the buffer: it hands each record to the Kafka cluster that takes records now, and moves the
//!    buffer's floor when the cluster has acknowledged it. What happens when one of them dies stands there.
//!
//! # What a crash leaves
//!
//! | killed | left behind | the client |
//! |---|---|---|
//! | before the 200 | what the front page of [`ingest`] says | sends again |
//! | after the 200 | the records | is done |
//! | after a cluster acknowledged them, before the floor is durable | the records, sent again after the restart | is done |
//!
//! # What is bounded
//!
//! What [`ingest`] bounds, and the records on their way to Kafka. `config` names each bound, its unit and what happens
//! at it.

mod admin;
mod config;
mod forward;
mod metrics;
mod program;
mod run;

pub use run::{arm_crash, buffer_dir, check_config, run};
