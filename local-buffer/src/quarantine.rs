//! What nobody can read or take, kept with its place and the reason: one file each, durable when `put` returns.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::format::{FORMAT_VERSION, array, put, u32_at, u64_at};
use crate::id::{InstanceId, RecordId};
use crate::lock::lock;
use crate::storage::{Access, File, Storage};
use crate::sync::Mutex;

/// Folder of the quarantine.
pub(crate) const QUARANTINE_DIR: &str = "quarantine";
/// Bound of the quarantine. A broken disk must not fill itself with copies of what it broke.
pub(crate) const QUARANTINE_BYTES_MAX: u64 = 1 << 30;
/// Damage is set aside in pieces of this size.
pub(crate) const DAMAGE_PIECE_BYTES: usize = 1 << 20;
/// Header of a quarantine file.
pub(crate) const HEADER_BYTES: usize = 72;

const MAGIC: [u8; 8] = *b"TURNQUA\0";

/// What is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// A record that was read, and that nobody takes.
    Record(RecordId),
    /// Bytes of a segment that are no record.
    Damage { generation: u64, offset: u64 },
}

impl Item {
    pub(crate) fn file_name(self) -> String {
        match self {
            Self::Record(id) => format!("record-{:020}.q", id.get()),
            Self::Damage { generation, offset } => format!("damage-{generation:010}-{offset:010}.q"),
        }
    }
}

/// The bytes of a quarantine file in front of reason and content.
pub(crate) fn encode_header(item: Item, instance: InstanceId, reason: &str, content: &[u8]) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    let (kind, id, generation, offset): (u32, u64, u64, u64) = match item {
        Item::Record(id) => (1, id.get(), 0, 0),
        Item::Damage { generation, offset } => (2, 0, generation, offset),
    };
    put(&mut header, 0, &MAGIC);
    put(&mut header, 8, &FORMAT_VERSION.to_le_bytes());
    put(&mut header, 12, &kind.to_le_bytes());
    put(&mut header, 16, &instance.to_bytes());
    put(&mut header, 32, &id.to_le_bytes());
    put(&mut header, 40, &generation.to_le_bytes());
    put(&mut header, 48, &offset.to_le_bytes());
    put(&mut header, 56, &(reason.len() as u32).to_le_bytes());
    put(&mut header, 60, &(content.len() as u64).to_le_bytes());
    let sum = crc32c::crc32c(&header[..68]);
    let sum = crc32c::crc32c_append(crc32c::crc32c_append(sum, reason.as_bytes()), content);
    put(&mut header, 68, &sum.to_le_bytes());
    header
}

/// What the header of a quarantine file says, before anything is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) item: Item,
    pub(crate) instance: InstanceId,
    pub(crate) reason_bytes: usize,
    pub(crate) content_bytes: u64,
    checksum: u32,
    /// Of the header itself, to be continued over reason and content.
    sum: u32,
}

impl Header {
    /// Whether reason and content, whose CRC-32C is continued from [`Header::start`], are those that were written.
    pub(crate) fn checks(&self, sum: u32) -> bool {
        self.checksum == sum
    }

    /// Where the checksum of reason and content starts from.
    pub(crate) fn start(&self) -> u32 {
        self.sum
    }
}

/// Why the bytes are no header of a quarantine file that this program knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHeader {
    Damaged,
    Newer(u32),
}

/// Reads a header. Its checksum covers all of the file, so that nothing of it is proven yet.
pub(crate) fn decode_header(header: &[u8]) -> Result<Header, NoHeader> {
    if header.len() < HEADER_BYTES || header[..8] != MAGIC {
        return Err(NoHeader::Damaged);
    }
    match u32_at(header, 8) {
        FORMAT_VERSION => {}
        newer if newer > FORMAT_VERSION => return Err(NoHeader::Newer(newer)),
        _ => return Err(NoHeader::Damaged),
    }
    let item = match u32_at(header, 12) {
        1 => Item::Record(RecordId::from_u64(u64_at(header, 32))),
        2 => Item::Damage { generation: u64_at(header, 40), offset: u64_at(header, 48) },
        _ => return Err(NoHeader::Damaged),
    };
    Ok(Header {
        item,
        instance: InstanceId::from_bytes(array(header, 16)),
        reason_bytes: u32_at(header, 56) as usize,
        content_bytes: u64_at(header, 60),
        checksum: u32_at(header, 68),
        sum: crc32c::crc32c(&header[..68]),
    })
}

/// The quarantine of a buffer.
pub(crate) struct Quarantine {
    storage: Arc<dyn Storage>,
    instance: InstanceId,
    bytes: Mutex<u64>,
}

impl Quarantine {
    pub(crate) fn open(storage: Arc<dyn Storage>, instance: InstanceId) -> io::Result<Self> {
        let mut bytes = 0;
        for (name, size) in storage.list(QUARANTINE_DIR)? {
            if name.strip_suffix(".tmp").is_some() {
                storage.remove(&format!("{QUARANTINE_DIR}/{name}"))?;
            } else {
                bytes += size;
            }
        }
        Ok(Self { storage, instance, bytes: Mutex::new(bytes) })
    }

    /// Bytes of all its files.
    pub(crate) fn bytes(&self) -> u64 {
        *lock(&self.bytes)
    }

    /// Sets something aside; durable on return. `false` if it lies there already from an earlier time.
    pub(crate) fn put(&self, item: Item, reason: &str, content: &[u8]) -> io::Result<bool> {
        let mut bytes = lock(&self.bytes);
        let size = (HEADER_BYTES + reason.len() + content.len()) as u64;
        let name = format!("{QUARANTINE_DIR}/{}", item.file_name());
        match self.storage.open(&name, Access::Read) {
            // Perhaps from a time when its name did not become safe.
            Ok(_) => return self.storage.sync_dir(QUARANTINE_DIR).map(|()| false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if *bytes + size > QUARANTINE_BYTES_MAX {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let unfinished = format!("{name}.tmp");
        let written = (|| {
            let file = self.storage.open(&unfinished, Access::Create)?;
            let header = encode_header(item, self.instance, reason, content);
            file.write_at(&[IoSlice::new(&header), IoSlice::new(reason.as_bytes()), IoSlice::new(content)], 0)?;
            file.sync()?;
            self.storage.rename(&unfinished, &name)?;
            self.storage.sync_dir(QUARANTINE_DIR)
        })();
        if let Err(error) = written {
            let _ = self.storage.remove(&unfinished);
            return Err(error);
        }
        *bytes += size;
        Ok(true)
    }
}

/// Sets a damaged range of a segment aside, in pieces; `count` hears the bytes of each one that is new.
pub(crate) fn set_aside(
    quarantine: &Quarantine,
    generation: u64,
    file: &dyn File,
    from: usize,
    to: usize,
    mut count: impl FnMut(u64),
) -> io::Result<()> {
    let mut piece = vec![0; DAMAGE_PIECE_BYTES.min(to - from)];
    let mut at = from;
    while at < to {
        let bytes = piece.len().min(to - at);
        let read = file.read_at(&mut piece[..bytes], at as u64)?;
        let item = Item::Damage { generation, offset: at as u64 };
        if quarantine.put(item, "no record whose checksum holds", &piece[..read])? {
            tracing::error!(generation, offset = at, bytes = read, "damage was set aside");
            count(read as u64);
        }
        if read == 0 {
            // Nothing lies behind the end of a file that was cut off.
            break;
        }
        at += bytes;
    }
    Ok(())
}
