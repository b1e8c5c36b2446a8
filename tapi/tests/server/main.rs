//! The program: its settings, its signals, its exit codes, and its tools on real files.

mod binary;
mod buffer;
#[expect(dead_code, reason = "the tests of ingest need more of it")]
#[path = "../../ingest/tests/server/client.rs"]
mod client;
mod hand_over;
mod quotas;
