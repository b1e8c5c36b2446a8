//! The source of the event at hand, and how a write key names it.

use wire::SourceId;

use super::text::write_string;
use crate::reject::Reject;
use crate::sources::Sources;

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

/// The source behind a write key. Its id goes into the output as text, so it has to be one.
pub(super) fn resolve<'a>(sources: &'a Sources, key: &'a [u8]) -> Result<SourceId<'a>, Reject> {
    if key.trim_ascii().is_empty() {
        return Err(Reject::MissingWriteKey);
    }
    let source = sources.resolve(key).ok_or(Reject::UnknownWriteKey)?;
    std::str::from_utf8(source.as_bytes()).map_or(Err(Reject::UnknownWriteKey), |_| Ok(source))
}
