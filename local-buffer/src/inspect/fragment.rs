//! Records inside bytes that were set aside: the same scan that reads segments, on bytes instead of a file.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::format::{BlockSeed, DATA_START, RECORD_HEADER_BYTES};
use crate::id::{InstanceId, RecordId};
use crate::scan::{Extent, Item, Scan};
use crate::storage::File;
use crate::walk::for_each_piece;

/// Bytes of a segment that begin somewhere in it; before and behind them there is nothing.
struct Fragment {
    bytes: Arc<[u8]>,
    offset: usize,
}

impl File for Fragment {
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        to.fill(0);
        let (from, end) = (offset as usize, offset as usize + to.len());
        let (first, last) = (from.max(self.offset), end.min(self.offset + self.bytes.len()));
        if first < last {
            to[first - from..last - from].copy_from_slice(&self.bytes[first - self.offset..last - self.offset]);
        }
        Ok(to.len())
    }

    fn write_at(&self, _: &[IoSlice<'_>], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn writes_through(&self) -> bool {
        true
    }

    fn forget_cached(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives every whole record in bytes of a segment's use that begin at `offset`, with the place of its header in the
/// segment; stops at the first one that `take` fails on.
pub(super) fn records_in_bytes<E>(
    bytes: &[u8],
    (instance, generation, offset): (InstanceId, u64, u64),
    mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E>
where
    E: From<io::Error>,
{
    let (bytes, offset) = (Arc::from(bytes), offset as usize);
    let end = offset + <[u8]>::len(&bytes);
    let file = Box::new(Fragment { bytes, offset });
    records_in(file, (instance, generation), offset, end, &mut take)
}

/// The same for a whole segment file.
pub(super) fn records_in_segment<E>(
    file: Box<dyn File>,
    (instance, generation): (InstanceId, u64),
    bytes: u64,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E>
where
    E: From<io::Error>,
{
    records_in(file, (instance, generation), DATA_START as usize, bytes as usize, &mut take)
}

fn records_in<E>(
    file: Box<dyn File>,
    (instance, generation): (InstanceId, u64),
    from: usize,
    to: usize,
    take: &mut impl FnMut(u64, &[u8]) -> Result<(), E>,
) -> Result<u64, E>
where
    E: From<io::Error>,
{
    let mut scan = Scan::new(file, generation, BlockSeed::of(instance), from, RecordId::ZERO);
    let (mut payload, mut count) = (Vec::new(), 0);
    loop {
        match scan.next(Extent::Unknown(to))? {
            Item::End => return Ok(count),
            Item::GroupEnd | Item::Damaged { .. } => {}
            Item::Record(found) => {
                payload.clear();
                let whole = for_each_piece(scan.window(), &found, |piece| payload.extend_from_slice(piece));
                debug_assert_eq!(whole, Ok(()));
                take((found.payload_at - RECORD_HEADER_BYTES) as u64, &payload)?;
                count += 1;
            }
        }
    }
}
