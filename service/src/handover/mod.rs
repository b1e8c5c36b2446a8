//! From one process to the next without a refused connection.
//!
//! A listener that is closed resets the connections in its queue, and a port on which nobody listens refuses them; some
//! clients lose their data at the first of either. So the old process hands its listeners to the next one while both
//! run, over a socket in the data folder, and what is connected meanwhile waits in the kernel.
//!
//! # The order of events
//!
//! | the old process | the next process |
//! |---|---|
//! | serves | reads its settings, connects, says hello |
//! | serves; gives a copy of each listener | checks them, prepares all that does not need the data, says that it is ready |
//! | lets go: accepts no more, finishes its requests, frees its data; gives the connections that wait for a request | waits |
//! | waits | opens the data, says that it serves, serves |
//! | ends | |
//!
//! # Who has it when one dies
//!
//! The data's lock decides: whoever holds it serves, and nobody serves without it. The old process keeps its copies of
//! the listeners and connections until it hears that the next one serves.
//!
//! | what goes wrong | who serves then |
//! |---|---|
//! | the next one dies, or says that it cannot, before it serves | the old one opens its data again and goes on, with its copies |
//! | it neither serves nor dies in time | the same; if it holds the data, it is killed, because it holds up every client |
//! | the old one dies while it hands over | the next one, with what it was given |
//! | the old one is told to stop while the next one prepares | the next one, once the data is free |
//!
//! Both ends look at the other's user: files go to, and are taken from, the same user's processes only.

mod link;
mod message;
mod offer;
mod successor;

use std::net::TcpStream;

pub use message::PASSED_BYTES_MAX;
pub use offer::{Handover, Lost, Offer};
pub use successor::{Left, Successor};

/// A connection that waits for its next request, on its way to the next process.
#[derive(Debug)]
pub struct Passed {
    /// The connection.
    pub stream: TcpStream,
    /// What whoever served it has to tell whoever will, in its own form; at most [`PASSED_BYTES_MAX`].
    pub state: Vec<u8>,
}
