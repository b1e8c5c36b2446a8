//! What was set aside, file by file.

use std::io;
use std::sync::Arc;
use std::vec::IntoIter;

use super::error::InspectError;
use super::places;
use super::snapshot::list;
use crate::format::BLOCK_BYTES;
use crate::id::{InstanceId, RecordId};
use crate::quarantine::{HEADER_BYTES, Header, Item, NoHeader, QUARANTINE_DIR, decode_header};
use crate::storage::{Access, File, Storage};

/// A reason or a content that claims to be longer was not written by a buffer.
const REASON_BYTES_MAX: usize = 64 << 10;
const CONTENT_BYTES_MAX: u64 = 64 << 20;
/// Read at once while a content is only checked.
const PIECE_BYTES: usize = 64 << 10;

/// What kind of thing was set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineKind {
    /// A record that nobody took.
    Record {
        /// The id it had.
        id: RecordId,
    },
    /// Bytes of a segment that are no record.
    Damage {
        /// Of the segment's use.
        generation: u64,
        /// Bytes from the start of the segment.
        offset: u64,
    },
    /// A whole segment file that is not of this buffer.
    Segment,
    /// Something that no buffer puts there.
    Unknown,
}

/// What is known of the bytes of a file in the quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QuarantineCheck {
    /// Its content was not read.
    NotChecked,
    /// It is what was written.
    Whole,
    /// It is not.
    Damaged,
    /// A newer program wrote it.
    Newer(u32),
}

/// A file of the quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantineFile {
    /// Its name in the quarantine's folder.
    pub name: String,
    /// Its size, bytes.
    pub bytes: u64,
    /// What it holds.
    pub kind: QuarantineKind,
    /// The buffer that it was set aside by, if it says so.
    pub instance: Option<InstanceId>,
    /// Why it was set aside.
    pub reason: String,
    /// Size of what was set aside, bytes.
    pub content_bytes: u64,
    /// What is known of it.
    pub check: QuarantineCheck,
}

/// How much of a file is read.
pub(super) enum Depth<'a> {
    Header,
    Checksum,
    /// The content goes there, if it is whole.
    Content(&'a mut Vec<u8>),
}

/// The files of the quarantine, in the order of their names. Files that come meanwhile are not among them.
pub struct QuarantineFiles {
    storage: Arc<dyn Storage>,
    names: IntoIter<(String, u64)>,
}

impl QuarantineFiles {
    pub(super) fn list(storage: Arc<dyn Storage>) -> Result<Self, InspectError> {
        let mut names = list(&*storage, QUARANTINE_DIR).map_err(InspectError::io("list", QUARANTINE_DIR))?;
        // A file that was never finished counts for nothing; the next opening removes it.
        names.retain(|(name, _)| name.strip_suffix(".tmp").is_none());
        Ok(Self { storage, names: names.into_iter() })
    }

    /// The next file, without its content.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn next_header(&mut self) -> Result<Option<QuarantineFile>, InspectError> {
        self.advance(Depth::Header)
    }

    /// The next file with what was set aside, which replaces what `content` held; empty if it is not whole, and for a
    /// whole segment.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn next(&mut self, content: &mut Vec<u8>) -> Result<Option<QuarantineFile>, InspectError> {
        self.advance(Depth::Content(content))
    }

    pub(super) fn advance(&mut self, mut depth: Depth<'_>) -> Result<Option<QuarantineFile>, InspectError> {
        for (name, bytes) in self.names.by_ref() {
            match read(&*self.storage, (&name, bytes), &mut depth) {
                Ok(file) => return Ok(Some(file)),
                // Somebody took it away since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(InspectError::io("read", &places::in_quarantine(&name))(error)),
            }
        }
        Ok(None)
    }
}

/// Reads a file of the quarantine, given its name and size.
pub(super) fn read(
    storage: &dyn Storage,
    (name, bytes): (&str, u64),
    depth: &mut Depth<'_>,
) -> io::Result<QuarantineFile> {
    if let Depth::Content(content) = depth {
        content.clear();
    }
    let file = storage.open(&places::in_quarantine(name), Access::Read)?;
    let file = &*file;
    let mut found = QuarantineFile {
        name: name.to_owned(),
        bytes,
        kind: QuarantineKind::Unknown,
        instance: None,
        reason: String::new(),
        content_bytes: bytes,
        check: QuarantineCheck::NotChecked,
    };
    if name.starts_with("segment-") {
        "not a segment of this buffer".clone_into(&mut found.reason);
        found.kind = QuarantineKind::Segment;
        return Ok(found);
    }
    // Header and reason of nearly every file lie in its first block.
    let mut start = [0; BLOCK_BYTES];
    let read = file.read_at(&mut start, 0)?;
    let header = match decode_header(&start[..read]) {
        Ok(header) => header,
        Err(NoHeader::Newer(version)) => {
            found.check = QuarantineCheck::Newer(version);
            return Ok(found);
        }
        Err(NoHeader::Damaged) => {
            found.check = QuarantineCheck::Damaged;
            return Ok(found);
        }
    };
    found.kind = match header.item {
        Item::Record(id) => QuarantineKind::Record { id },
        Item::Damage { generation, offset } => QuarantineKind::Damage { generation, offset },
    };
    found.instance = Some(header.instance);
    found.content_bytes = header.content_bytes;
    let head_bytes = (HEADER_BYTES + header.reason_bytes.min(REASON_BYTES_MAX)) as u64;
    let fits = header.reason_bytes <= REASON_BYTES_MAX && header.content_bytes <= CONTENT_BYTES_MAX;
    if !fits || head_bytes + header.content_bytes != bytes {
        found.check = QuarantineCheck::Damaged;
        return Ok(found);
    }
    let mut reason = vec![0; header.reason_bytes];
    file.read_at(&mut reason, HEADER_BYTES as u64)?;
    found.reason = String::from_utf8_lossy(&reason).into_owned();
    let sum = crc32c::crc32c_append(header.start(), &reason);
    check(file, &header, head_bytes, sum, depth).map(|whole| {
        found.check = match whole {
            None => QuarantineCheck::NotChecked,
            Some(true) => QuarantineCheck::Whole,
            Some(false) => QuarantineCheck::Damaged,
        };
        found
    })
}

/// Whether the content is the one that was written; `None` if it is not to be read.
fn check(file: &dyn File, header: &Header, at: u64, sum: u32, depth: &mut Depth<'_>) -> io::Result<Option<bool>> {
    let bytes = header.content_bytes as usize;
    match depth {
        Depth::Header => Ok(None),
        Depth::Content(content) => {
            content.resize(bytes, 0);
            let read = file.read_at(content, at)?;
            let whole = read == bytes && header.checks(crc32c::crc32c_append(sum, content));
            if !whole {
                content.clear();
            }
            Ok(Some(whole))
        }
        Depth::Checksum => {
            let (mut piece, mut sum, mut done) = (vec![0; PIECE_BYTES.min(bytes)], sum, 0);
            while done < bytes {
                let wanted = piece.len().min(bytes - done);
                let read = file.read_at(&mut piece[..wanted], at + done as u64)?;
                if read == 0 {
                    return Ok(Some(false));
                }
                sum = crc32c::crc32c_append(sum, &piece[..read]);
                done += read;
            }
            Ok(Some(header.checks(sum)))
        }
    }
}
