//! What every Turnstile process has, so that all of them are run the same way.
//!
//! | module | what a process gets from it |
//! |---|---|
//! | [`begin`](mod@begin) | the first steps of every command, and `check-config` |
//! | [`config`] | one nested struct, filled from its defaults, a TOML file and the environment; every value knows where it came from |
//! | [`Access`] | who may read what it stores |
//! | [`DataDir`] | a data folder that one process has at a time |
//! | [`Listeners`] | the sockets it listens on, its own, from systemd ([`listen_fds()`]) or from the process before it ([`handover`]) |
//! | [`logging`] | structured logs, text for people and JSON for machines |
//! | [`admin`] | `/metrics`, `/healthz`, `/readyz` and a status page, on a port and a thread of their own |
//! | [`metrics`] | plain numbers as Prometheus text |
//! | [`shutdown`] | SIGTERM and SIGINT as one signal that async tasks and plain threads can wait for, SIGHUP as a call |
//! | [`backoff`] | pauses between attempts that fail |
//! | [`crash`] | dying or standing still at a named step, for tests |
//! | [`output`] | words on standard output and standard error, which may be closed or full |
//! | [`exit`] | exit codes: 0 done, 1 failed, 2 bad usage or configuration |
//!
//! Nothing here knows of events or buffers, and of Kafka only that its clients have properties.

mod access;
pub mod admin;
pub mod backoff;
pub mod begin;
pub mod config;
pub mod crash;
mod data_dir;
pub mod exit;
pub mod handover;
mod listen_fds;
mod listeners;
pub mod logging;
pub mod metrics;
mod open_files;
pub mod output;
mod process;
pub mod shutdown;

pub use access::Access;
pub use admin::{Admin, AdminServer, Section};
pub use begin::{begin, check_config, settings};
pub use config::{Loaded, Problem, Properties, Settings};
pub use data_dir::DataDir;
pub use exit::Failure;
pub use listen_fds::listen_fds;
pub use listeners::Listeners;
pub use output::{Output, announce, remark, say};
pub use shutdown::Shutdown;
