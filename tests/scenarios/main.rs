//! Whole-system scenarios: one file for each fault, one sentence for each test. Each says its goal, its fault and its
//! oracle first. Run them with `make test`, in their long form with `make chaos`; `TESTS_SEED` repeats a run's choices.

#![cfg(test)]

mod answers;
mod body_bomb;
mod browsers;
mod crash_between_steps;
mod crowds;
mod damage;
mod failover;
mod flood;
mod full_disk;
mod hosts;
mod kafka_clusters;
mod kill_under_load;
mod memory_under_load;
mod outages;
mod pipeline;
mod reconfigured;
mod refusals;
mod restart;
mod restored;
mod sdk_conformance;
mod security;
mod sigterm_under_load;
mod tail_through_kills;
mod three_brokers;
mod workers;
