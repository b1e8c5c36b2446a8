//! A piece of damage: where it is, what it is, and whether it costs anything.

/// What is wrong at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DamageKind {
    /// Bytes between or behind records that should be records, and whose checksum does not hold.
    Records,
    /// Bytes behind the last good record of the last segment.
    Tail,
    /// A segment that another one names as the one before it, with records above the floor, is not there.
    SegmentMissing,
    /// A segment of another buffer.
    SegmentForeign,
    /// A segment with the generation of another one.
    SegmentCopied,
    /// A segment in which nothing of ours can be found.
    SegmentUnreadable,
    /// The newer header of a segment is damaged; its records were found by its blocks.
    SegmentHeader,
    /// Neither copy of the buffer's name is good.
    MetaLost,
    /// The meta file names another buffer than the floor and the segments.
    MetaForeign,
    /// Neither copy of the floor is good.
    FloorLost,
    /// One of two copies is damaged, and the other one is good.
    Slot,
    /// The header of a block is damaged, its records are good.
    BlockHeader,
    /// A file of the quarantine is not what was written.
    Quarantine,
}

impl DamageKind {
    /// Its name in figures and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Tail => "tail",
            Self::SegmentMissing => "segment_missing",
            Self::SegmentForeign => "segment_foreign",
            Self::SegmentCopied => "segment_copied",
            Self::SegmentUnreadable => "segment_unreadable",
            Self::SegmentHeader => "segment_header",
            Self::MetaLost => "meta_lost",
            Self::MetaForeign => "meta_foreign",
            Self::FloorLost => "floor_lost",
            Self::Slot => "slot",
            Self::BlockHeader => "block_header",
            Self::Quarantine => "quarantine",
        }
    }

    /// What it means, as a part of a sentence.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Records => "no record whose checksum holds",
            Self::Tail => "behind the last good record: a write that was cut short, or damaged records",
            Self::SegmentMissing => "a segment with undrained records is missing",
            Self::SegmentForeign => "the segment is of another buffer",
            Self::SegmentCopied => "the segment has the generation of another file",
            Self::SegmentUnreadable => "nothing of a buffer can be found in the segment",
            Self::SegmentHeader => "the newer header is damaged; the records were found by their blocks",
            Self::MetaLost => "the buffer's name is lost here; it was found elsewhere if it is anywhere",
            Self::MetaForeign => "the name is that of another buffer than the floor's and the segments'",
            Self::FloorLost => "the floor is lost: records that were drained may be drained again",
            Self::Slot => "one of two copies is damaged, the other one is good",
            Self::BlockHeader => "the header of a block is damaged, the records in it are good",
            Self::Quarantine => "the file is not what was written to the quarantine",
        }
    }

    /// Whether it costs nothing: everything is readable, and the place is written anew when it is used again.
    pub fn is_harmless(self) -> bool {
        matches!(self, Self::Slot | Self::BlockHeader | Self::SegmentHeader)
    }
}

/// A piece of damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// What is wrong.
    pub kind: DamageKind,
    /// The file, relative to the directory; for a missing segment its folder.
    pub file: String,
    /// Where it begins, bytes from the start of the file.
    pub offset: u64,
    /// How long it is, bytes; 0 where there is nothing.
    pub bytes: u64,
    /// Its bytes lie in the quarantine already.
    pub set_aside: bool,
}

impl Damage {
    /// Whether somebody should do something about it: it costs something, and was not set aside yet.
    pub fn is_open(&self) -> bool {
        !self.set_aside && !self.kind.is_harmless()
    }
}
