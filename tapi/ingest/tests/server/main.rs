//! The server over real sockets: what each kind of client sends, what it gets back, and what is in the buffer then.

mod answers;
mod bodies;
mod browsers;
mod client;
mod connections;
mod fuzz_corpus;
mod harness;
mod heads;
mod hostages;
mod http2;
mod keys;
mod limits;
mod metrics;
mod paths;
mod plain;
mod protocol;
mod protocol_http2;
mod proxied;
mod shares;
mod stops;
mod tls;
mod work;
