//! Whether a request is let in: by its source's own rules, and by the parts of what all sources share.
//!
//! It is asked twice. The head may name the source already, and then a source in debt is refused before its body is read.
//! Behind the parser every source of the events is known, and how many they are.

use std::net::IpAddr;

use hyper::HeaderMap;
use wire::SourceId;
use wire::envelope::Envelope;

use crate::auth::Reading;
use crate::commits::clock_us;
use crate::events::{Accepted, SOURCE_UNKNOWN, Scratch};
use crate::handle::{Context, Head};
use crate::limit::Allowance;
use crate::live::Live;
use crate::policy::Policies;
use crate::reject::Reject;
use crate::respond::Answer;
use crate::share::{Held, Slot};

/// A request whose head was let in.
pub(crate) struct Entrant<'a> {
    /// Who it counts for until its events are known.
    pub(crate) slot: Slot,
    /// Whether that is its source, and all events will be of it.
    is_named: bool,
    /// Its keys.
    pub(crate) keys: Reading,
    /// Its part of the requests in flight.
    pub(crate) request: Held<'a>,
}

/// Before the body is read.
///
/// # Errors
/// The answer to a source that must not send now, or to nobody who may send.
pub(crate) fn admit_head<'a>(context: &'a Context, peer: IpAddr, head: &Head) -> Result<Entrant<'a>, Answer> {
    let (live, mut tools) = (context.live.borrow(), context.tools.borrow_mut());
    let keys = tools.keys.read(&head.headers, head.uri.query(), &live.sources);
    if tools.keys.name_none(&live.sources) {
        return Err(Answer::refused(Reject::UnknownWriteKey));
    }
    let source = tools.keys.first().and_then(|key| live.sources.resolve(key)).map(SourceId::as_bytes);
    if let Some(policy) = source.and_then(|source| live.policies.of(source)) {
        policy.check_origin(&head.headers)?;
        policy.check_debt(clock_us())?;
    }
    let by_address = || context.slots.of_address(live.proxies.client_ip(peer, &head.headers));
    let slot = source.map_or_else(by_address, |source| context.slots.of_source(source));
    let request = context.requests.hold(slot, 1).map_err(Answer::refused)?;
    Ok(Entrant { slot, is_named: source.is_some(), keys, request })
}

/// What is let into the buffer.
pub(crate) struct Admitted<'a> {
    pub(crate) slot: Slot,
    /// What the source may still send, where it is told.
    pub(crate) allowance: Option<Allowance>,
    /// The part of what waits to become durable.
    pub(crate) records: Held<'a>,
}

/// Before the records go into the buffer; `None` where there are none.
///
/// # Errors
/// The answer to a source that must not send now.
pub(crate) fn admit_events<'a>(
    context: &'a Context,
    entrant: &Entrant<'_>,
    live: &Live,
    scratch: &Scratch,
    accepted: Accepted,
    headers: &HeaderMap,
    now_us: i64,
) -> Result<Option<Admitted<'a>>, Answer> {
    let Some(first) = scratch.records().next() else { return Ok(None) };
    let allowance =
        if live.policies.is_empty() { None } else { charge(&live.policies, scratch, accepted, headers, now_us)? };
    let slot = if entrant.is_named {
        entrant.slot
    } else {
        source(first).map_or(entrant.slot, |source| context.slots.of_source(source))
    };
    let bytes = scratch.records().map(<[u8]>::len).sum();
    let records = context.records.hold(slot, bytes).map_err(Answer::refused)?;
    Ok(Some(Admitted { slot, allowance, records }))
}

/// Every source is asked before any is charged.
fn charge(
    policies: &Policies,
    scratch: &Scratch,
    accepted: Accepted,
    headers: &HeaderMap,
    now_us: i64,
) -> Result<Option<Allowance>, Answer> {
    let known = || {
        let sources = scratch.records().filter_map(source).filter(|source| *source != SOURCE_UNKNOWN);
        sources.filter_map(|source| policies.of(source))
    };
    if scratch.has_common_source() {
        let Some(policy) = known().next() else { return Ok(None) };
        policy.check_origin(headers)?;
        return policy.charge(accepted.events + accepted.rejected, now_us);
    }
    known().try_for_each(|policy| policy.check_origin(headers).and_then(|()| policy.check_debt(now_us)))?;
    // One that the others of its batch have just put into debt is not refused for that.
    Ok(known().fold(None, |allowance, policy| allowance.or(policy.charge(1, now_us).unwrap_or(None))))
}

fn source(record: &[u8]) -> Option<&[u8]> {
    Envelope::decode(record).ok().map(|envelope| envelope.source().as_bytes())
}
