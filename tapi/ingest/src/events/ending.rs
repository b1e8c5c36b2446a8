//! What all events of one source in a request end with, written once: the envelope's `sentAt`, `source`, `receivedAt`.

use super::envelope::BatchEnvelope;
use super::intake::Receipt;

/// The end of each event's value. Reused; empty until the first event needs it.
#[derive(Default)]
pub(super) struct Ending {
    text: Vec<u8>,
    /// Where `source` begins, behind the envelope's `sentAt`.
    source: usize,
}

/// The end of one event's value.
#[derive(Clone, Copy)]
pub(super) struct Ends<'a> {
    text: &'a [u8],
    source: usize,
}

impl Ending {
    /// Forgets it, because the request, its envelope or the source is another one.
    pub(super) fn clear(&mut self) {
        self.text.clear();
    }

    /// It, made where it is not. `source` is a JSON string.
    pub(super) fn of(&mut self, source: &[u8], receipt: &Receipt<'_>, envelope: &BatchEnvelope) -> Ends<'_> {
        if self.text.is_empty() {
            let mut put = |text: &[u8]| self.text.extend_from_slice(text);
            if !envelope.sent_at.is_empty() {
                put(b",\"sentAt\":");
                put(&envelope.sent_at);
            }
            self.source = self.text.len();
            let mut put = |text: &[u8]| self.text.extend_from_slice(text);
            put(b",\"source\":");
            put(source);
            put(b",\"receivedAt\":\"");
            put(&receipt.received_at);
            put(b"\"}");
        }
        Ends { text: &self.text, source: self.source }
    }
}

impl<'a> Ends<'a> {
    /// What the event ends with, depending on whether it has a `sentAt` of its own. Begins with a comma.
    pub(super) fn text(self, has_sent_at: bool) -> &'a [u8] {
        if has_sent_at { &self.text[self.source..] } else { self.text }
    }
}
