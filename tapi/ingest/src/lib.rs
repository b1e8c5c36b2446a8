//! HTTP in, local buffer, a 200 when the events are safe.
//!
//! # The path of one event
//!
//! 1. [`listen()`] takes the port with a listener for each core (`SO_REUSEPORT`). [`serve()`] gives each a thread with a
//!    single-threaded runtime and its own reusable buffers: nothing on the path of a request is shared but the buffer.
//!    `accept` is the loop of one thread, `connection` keeps the deadlines of what it accepted, `handle` is one request.
//!    Behind a load balancer `prelude` reads its PROXY header, and with a certificate it makes the TLS handshake, before
//!    the first request; HTTP/2 is `http2`.
//! 2. hyper reads the head. `route` says what the path means; every alias that an SDK or a wrong base path produces has
//!    its row, and nothing is ever redirected, because SDKs follow a redirect with a GET and count its 200 as delivery.
//! 3. `body` reads the body up to its bound. A body that came in one piece is used where it lies; several pieces are
//!    gathered in a buffer from a pool. `inflate` undoes gzip with the bound applied while inflating.
//! 4. [`events`] turns the body into records in the thread's scratch: events with their identity fixed, and events set
//!    aside with the reason. It is a function of its arguments; the clock is read once, before it.
//! 5. The records go into the local buffer, all of them or none. The request now waits, in a queue of its thread, for
//!    the buffer to say that they are durable. One message per group commit wakes a thread, not one per request.
//! 6. `commits` hands out the [`local_buffer::Durable`] proof; `respond` takes it, and only with it can a stored
//!    request be answered with a 200.
//!
//! Where the records go from the buffer is the program's business: nothing here knows Kafka or an index. Signals are
//! its business too: it gives [`serve()`] its stop, and what it reads at SIGHUP to [`reload`]. Where another process takes
//! over, [`serve_or_hand_over`] leaves it the connections that wait for a request; `passed` is what is told of each.
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
//! Connections, the time before their first request, the streams of HTTP/2, bytes of a head, bytes of a body before and after decompression, bytes of bodies in flight, the time of
//! each phase of a connection, the time of a stop. [`config`] names each bound, its unit and what happens at it.

mod accept;
mod auth;
mod body;
mod client_ip;
mod commits;
pub mod config;
mod connection;
pub mod events;
mod handle;
mod http2;
mod inflate;
mod limit;
mod listen;
mod live;
mod metrics;
mod passed;
mod prelude;
mod proxy_protocol;
mod refusal;
pub mod reject;
pub mod request;
mod respond;
mod route;
mod serve;
pub mod sources;
pub mod tls;

pub use config::Config;
pub use listen::listen;
pub use live::{Live, reload};
pub use metrics::{Metrics, about};
pub use serve::{Signals, Sockets, serve, serve_or_hand_over};
