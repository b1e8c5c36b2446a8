//! The server over real sockets: what each kind of client sends, what it gets back, and what is in the buffer then.

mod answers;
mod binary;
mod bodies;
mod browsers;
mod client;
mod connections;
mod harness;
mod keys;
mod metrics;
mod paths;
mod stops;
