//! The program against real Kafka: what comes out is each event once, whatever happens on the way.
//!
//! Goal of every test: each event that was produced is in `events.deduped` exactly once under `read_committed`. The
//! faults differ. The tests share two brokers, take turns, and make the topics anew.

mod brokers;
mod events;
mod proxy;
mod scene;
mod worker;

mod crash;
mod damage;
mod disk_full;
mod faults;
mod leaderless;
mod membership;
mod once;
mod outcome;
mod pause;
mod poison;
mod rebuild;
mod suite;
mod truth;
mod window;
