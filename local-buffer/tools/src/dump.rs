//! `buffer dump`: the records, and what was set aside, as NDJSON.

use std::path::Path;

use local_buffer::RecordId;
use local_buffer::inspect::{Inspector, Piece, QuarantineCheck, QuarantineFile, QuarantineKind, Start};
use serde::Serialize;
use service::{Failure, Output, remark};

use crate::arguments::Range;
use crate::place::failure;
use crate::record::Content;
use crate::verify::counted_pieces;

#[derive(Serialize)]
struct Record {
    id: u64,
    #[serde(flatten)]
    content: Content,
}

#[derive(Serialize)]
struct SetAside {
    file: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<u64>,
    reason: String,
    content_bytes: u64,
    whole: bool,
    #[serde(flatten)]
    content: Content,
}

pub(crate) fn run(dir: &Path, range: &Range, program: &str) -> Result<(), Failure> {
    let inspector = Inspector::open(dir).map_err(failure)?;
    let limit = range.limit.unwrap_or(u64::MAX);
    if range.quarantine {
        return quarantine(&inspector, limit);
    }
    let start = match (range.from, range.all) {
        (Some(id), _) => Start::Id(RecordId::from_u64(id)),
        (None, true) => Start::Oldest,
        (None, false) => Start::Floor,
    };
    let mut records = inspector.records(start).map_err(failure)?;
    let (mut output, mut payload) = (Output::new(), Vec::new());
    let (mut lines, mut damaged) = (0, 0);
    while lines < limit && !output.is_closed() {
        match records.next(&mut payload).map_err(failure)? {
            None => break,
            Some(Piece::Record(place)) => {
                output.json(&Record { id: place.id.get(), content: Content::of(&payload) })?;
                lines += 1;
            }
            Some(Piece::Damage(damage)) => {
                damaged += u64::from(damage.is_open());
                let (bytes, offset, reason) = (damage.bytes, damage.offset, damage.kind.reason());
                remark(format_args!("passed over {bytes} bytes at {offset} of {}: {reason}", damage.file));
            }
            Some(Piece::Released(_)) => {}
        }
    }
    output.finish()?;
    if damaged > 0 {
        let (pieces, dir) = (counted_pieces(damaged), dir.display());
        return Err(Failure::failed(format!("{pieces} of damage passed over; see `{program} buffer verify {dir}`")));
    }
    Ok(())
}

fn quarantine(inspector: &Inspector, limit: u64) -> Result<(), Failure> {
    let mut files = inspector.quarantine().map_err(failure)?;
    let (mut output, mut content) = (Output::new(), Vec::new());
    for _ in 0..limit {
        if output.is_closed() {
            break;
        }
        let Some(file) = files.next(&mut content).map_err(failure)? else { break };
        output.json(&SetAside::of(file, &content))?;
    }
    output.finish()
}

impl SetAside {
    fn of(file: QuarantineFile, content: &[u8]) -> Self {
        let (kind, id, generation, offset) = match file.kind {
            QuarantineKind::Record { id } => ("record", Some(id.get()), None, None),
            QuarantineKind::Damage { generation, offset } => ("damage", None, Some(generation), Some(offset)),
            QuarantineKind::Segment => ("segment", None, None, None),
            QuarantineKind::Unknown => ("unknown", None, None, None),
        };
        let whole = file.check == QuarantineCheck::Whole;
        let content = match file.kind {
            QuarantineKind::Record { .. } if whole => Content::of(content),
            QuarantineKind::Damage { .. } if whole => Content::of_bytes(content),
            _ => Content::default(),
        };
        let (file, reason, content_bytes) = (file.name, file.reason, file.content_bytes);
        Self { file, kind, id, generation, offset, reason, content_bytes, whole, content }
    }
}
