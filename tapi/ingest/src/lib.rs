//! HTTP in, local buffer, a 200 when the events are safe.
//!
//! # The path of one event
//!
//! 1. [`listen()`] takes the port with a listener for each core (`SO_REUSEPORT`). [`serve()`] gives each a thread with a
//!    single-threaded runtime and its own reusable buffers: nothing on the path of a request is shared but the buffer.
//!    `accept` is the loop of one thread, `connection` what it accepted, with its deadlines, `handle` is one request.
//!    Behind a load balancer `prelude` reads its PROXY header, and with a certificate it makes the TLS handshake, before
//!    the first request; HTTP/2 is `http2`.
//! 2. The gate of a connection lets through what it understands: whole heads and the bodies that they announce. A head
//!    that leaves a doubt becomes a refusal and the end of its connection. hyper reads what passes. Before either, as long
//!    as a client sends nothing but POSTs that come whole, those are read without them, by the same rules: that is most
//!    of what SDKs send, and takes less time. `route` says what the
//!    path means by its words, whatever base address was typed into the SDK; nothing is ever redirected, because SDKs
//!    follow a redirect with a GET and count its 200 as delivery. `auth` finds the write keys of the head, and `admit`
//!    turns a source away that is in debt, or beyond its part of a busy server.
//! 3. `body` reads the body up to its bound. A body that came in one piece is used where it lies; several pieces are
//!    gathered in a buffer from a pool. `coding` tells gzip by what the head says and, which has the last word,
//!    by its first two bytes; `inflate` undoes it with the bound applied while inflating.
//! 4. [`events`] turns the body into records in the thread's scratch: events with their identity fixed, and events set
//!    aside with the reason. It is a function of its arguments; the clock is read once, before it. Now `admit` knows every
//!    source and charges it by its tier.
//! 5. The records go into the local buffer, all of them or none. The request now waits, in a queue of its thread, for
//!    the buffer to say that they are durable. One message per group commit wakes a thread, not one per request.
//! 6. `commits` hands out the [`local_buffer::Durable`] proof; `respond` takes it, and only with it can a stored
//!    request be answered with a 200.
//!
//! Where the records go from the buffer is the program's business: nothing here knows Kafka or an index. Signals are
//! its business too: it gives [`serve()`] its stop, and what it reads at SIGHUP to [`reload`]. [`takeover`] does both for a
//! whole program, and where another process takes over, it leaves that the connections that wait for a request; `passed` is
//! what is told of each. `quotas` is what outlives a process beside the events.
//!
//! Beside the events `settings` answers what SDKs of browsers and mobile apps ask for first, so that they need no other
//! server, and `pixel` makes the body of an event from the address of a picture.
//!
//! What goes wrong on the way is a [`reject::Reject`]: one enum, one table of status, code and message. Its status is
//! chosen by what SDKs do next: 400 makes them drop, 429 and 503 make them come back.
//!
//! # What a crash leaves
//!
//! | killed | left behind | the client |
//! |---|---|---|
//! | before step 5 | nothing | has no answer and sends again |
//! | in step 5, before the sync | perhaps a torn tail, set aside when the buffer is opened | has no answer and sends again |
//! | after the sync, before the 200 | the records | has no answer and sends again: the same messageIds, dropped by dedup |
//! | after the 200 | the records | is done |
//!
//! # What is bounded
//!
//! A source by its tier, in events, and where the server is busy by an equal part of it (`policy`, `share`). All together:
//! connections, those of one address, the time before their first request, the streams of HTTP/2; bytes and fields of a
//! head; bytes of a body before and after decompression, its chunks, its gzip members and blocks; bytes of bodies and
//! unfinished heads in flight; the time of each phase of a connection, the rate of a body, the time of a stop. [`config`]
//! names those that can be set, with their unit and what happens at them. No request of the largest size costs more than
//! 30 ms of a core, and no client without a key can keep memory or connections from the others: it has the part of its
//! address, and what is held longest makes room.

mod accept;
mod addresses;
mod admit;
mod auth;
mod body;
mod client_ip;
mod coding;
mod commits;
pub mod config;
mod connection;
pub mod events;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod handle;
mod http2;
mod inflate;
mod limit;
mod listen;
mod live;
mod metrics;
mod open_files;
mod origin;
mod passed;
mod percent;
mod pixel;
mod policy;
mod pool;
mod ports;
mod prelude;
mod proxy_protocol;
mod public_url;
mod quotas;
mod refusal;
pub mod reject;
pub mod request;
mod respond;
mod route;
mod serve;
mod settings;
mod share;
pub mod sources;
pub mod takeover;
mod texts;
pub mod tls;

pub use config::Config;
pub use listen::listen;
pub use live::{Live, reload};
pub use metrics::{Metrics, about};
pub use ports::Ports;
pub use serve::serve;
