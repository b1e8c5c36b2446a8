//! What is known of a request beside its body.

use std::net::IpAddr;

/// The six event types of the Segment spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventType {
    /// Something a user did.
    Track,
    /// Who a user is.
    Identify,
    /// A web page was seen.
    Page,
    /// An app screen was seen.
    Screen,
    /// Which account a user belongs to.
    Group,
    /// Two ids are one user.
    Alias,
}

/// What a path says of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// `{"batch":[…]}`; each event says its own type.
    Batch,
    /// One event; its type where it does not say one itself.
    Single(EventType),
}

/// The client's address, and which events it is filled into as `context.ip` where they have none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientIp {
    /// All: the path is one for browsers and mobile apps.
    All(IpAddr),
    /// Those with `context.direct: true`: the path is one for servers, whose own address says nothing of a user.
    Direct(IpAddr),
}

/// A request without its body.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// What the path says.
    pub endpoint: Endpoint,
    /// The one clock read of this request, milliseconds since the Unix epoch.
    pub received_at_ms: i64,
    /// Write key from Basic or the query, decoded; where it names no source the body's counts.
    pub write_key: Option<&'a [u8]>,
    /// The key for what neither `write_key` nor the body names a source for: the user of a login with a password.
    pub last_write_key: Option<&'a [u8]>,
    /// The client's address.
    pub client_ip: Option<ClientIp>,
}
