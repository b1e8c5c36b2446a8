//! The records of one batch, each decoded once.

use local_buffer::RecordId;
use wire::envelope::{Envelope, Event};

/// What a batch holds, in its order.
#[derive(Debug, Default)]
pub struct Decoded<'a> {
    /// Events, to be decided.
    pub events: Vec<Event<'a>>,
    /// Values of events that were set aside when they came in.
    pub set_aside: Vec<&'a [u8]>,
    /// Records that are no envelopes; the caller puts them into quarantine.
    pub unreadable: Vec<(RecordId, &'a [u8])>,
    /// When the first readable record was received, milliseconds since the Unix epoch.
    pub received_at_ms: Option<i64>,
}

impl<'a> Decoded<'a> {
    /// Decodes records.
    pub fn of(records: impl Iterator<Item = (RecordId, &'a [u8])>) -> Self {
        let mut decoded = Self::default();
        for (id, record) in records {
            let received_at_ms = match Envelope::decode(record) {
                Ok(Envelope::Event(event)) => {
                    decoded.events.push(event);
                    event.received_at_ms
                }
                Ok(Envelope::SetAside(event)) => {
                    decoded.set_aside.push(event.value);
                    event.received_at_ms
                }
                Err(_) => {
                    decoded.unreadable.push((id, record));
                    continue;
                }
            };
            decoded.received_at_ms.get_or_insert(received_at_ms);
        }
        decoded
    }
}
