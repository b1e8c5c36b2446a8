//! What the benches share: a load client that costs little, a Kafka broker and what lies in it, the processor time of a
//! process, cores to pin to, and the file that keeps the figures.
//!
//! A bench prints its figure beside its floor, measured in the same run by turns, and checks the answers it gets.
//!
//! `benches/compare OLD_COMMIT` (`make compare OLD=…`) runs the benches of an older commit and of this tree by turns,
//! and judges the median of their ratios row by row; its `--help` says how.

pub mod bare;
pub mod changelog;
pub mod disk;
pub mod event;
pub mod kafka;
pub mod load;
pub mod machine;
pub mod posts;
pub mod program;
pub mod record;
pub mod server;
pub mod socket;
pub mod traffic;
