//! The source of the event at hand.

use wire::SourceId;

use super::text::write_string;

/// The source of the event at hand, kept between events and requests because it seldom changes.
#[derive(Default)]
pub(super) struct CurrentSource {
    pub(super) id: Vec<u8>,
    /// As a JSON string.
    pub(super) json: Vec<u8>,
    /// Whether it is that of the event at hand.
    pub(super) is_known: bool,
}

impl CurrentSource {
    /// Whether it is another one than before.
    pub(super) fn set(&mut self, source: SourceId<'_>) -> bool {
        self.is_known = true;
        if self.id == source.as_bytes() {
            return false;
        }
        self.id.clear();
        self.id.extend_from_slice(source.as_bytes());
        self.json.clear();
        write_string(&mut self.json, &self.id);
        true
    }

    pub(super) fn id(&self) -> SourceId<'_> {
        SourceId::try_new(&self.id).expect("set from a source's id")
    }
}
