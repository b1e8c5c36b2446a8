//! The harness of the whole-system scenarios: it starts the real programs, breaks them, and looks at what came out.
//!
//! A scenario begins with [`Scene::begin`], which gives it the machine for itself, a directory and a seed. In it a
//! [`Turnstile`], or a [`Pipeline`] of [`Tapi`], two [`Kafka`] clusters and [`Worker`]s, is started, killed and started
//! again on the same ports and data; load comes from the real `loadtest` ([`load`]), from the real SDKs ([`sdk`]) or,
//! where the exact bytes matter, from [`http`]. Judges are `loadtest verify` and [`output`], which reads what a user
//! would read.
//!
//! Nothing here waits by time: it polls for what it waits for, up to a limit that fails the scenario ([`wait`]).
//! The programs are those that `make test` has just built; the harness never builds.

mod browser;
pub mod clock;
pub mod crowd;
pub mod disk;
pub mod follower;
pub mod http;
mod kafka;
pub mod load;
pub mod metrics;
mod node;
pub mod output;
mod pair;
mod pipeline;
mod program;
mod scene;
pub mod sdk;
pub mod secure;
mod server;
mod tapi;
pub mod topic;
mod turnstile;
pub mod wait;
mod worker;

pub use browser::{Answered, Browser, Ending};
pub use kafka::{Cluster, Consumed};
pub use node::Node;
pub use pair::{Kafka, LANES, PARTITIONS, Shared};
pub use pipeline::{Output, Pipeline};
pub use program::Program;
pub use scene::{Scene, chaos};
pub use server::Server;
pub use tapi::Tapi;
pub use turnstile::{Turnstile, free_address};
pub use worker::{Worker, nothing_waits};
