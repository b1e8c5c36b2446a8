//! An open-loop load generator that keeps a ledger, and a verifier that holds a server's output against it.
//!
//! It knows a server from outside only: HTTP in, NDJSON files or a Kafka topic out. The path of one event:
//!
//! 1. [`Plan`](plan::Plan) says which event number each slot of each request carries; [`Events`](events::Events) makes
//!    event `n` from the seed and `n`.
//! 2. [`run`] sends requests when they are due. The [`ledger`] notes that a request may be sent before it is, and
//!    afterwards what became of it ([`Outcome`](retry::Outcome)).
//! 3. [`verify`] waits for the server to finish, derives from the ledgers how often each event must and may come out,
//!    and compares each line of the output with the event it claims to be, byte for byte.
//!
//! Nothing that is sent is kept: both ends make an event when they need it, so that hours of load can be verified in
//! a byte of memory an event.

pub mod cli;
pub mod compare;
mod config;
mod error;
pub mod events;
pub mod ledger;
mod mix;
pub mod plan;
mod progress;
pub mod report;
mod request;
mod response;
pub mod retry;
pub mod run;
pub mod run_file;
mod skim;
mod template;
pub mod verify;
pub mod workload;

pub use error::Error;
