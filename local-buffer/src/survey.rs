//! Looking at the segment files of a directory before anything is changed, and moving aside what is not ours.

use std::io;

use crate::error::OpenError;
use crate::format::{BLOCK_BYTES, BlockHeader, BlockSeed, DATA_START, FORMAT_VERSION};
use crate::memory::CHUNK_BYTES;
use crate::quarantine::QUARANTINE_DIR;
use crate::recovery::{BlocksSeen, SeenSegment};
use crate::segment::{Files, SEGMENTS_DIR, Segment, file_name, parse_file_name, path};
use crate::slot::{SegmentHeader, Slot};
use crate::storage::{Access, File, Storage};

/// Gives an I/O error its operation and file.
pub(crate) fn at<'a>(action: &'static str, file: &'a str) -> impl Fn(io::Error) -> OpenError + 'a {
    move |source| OpenError::Io { action, file: file.to_string(), source }
}

/// A newer version in either slot is refused by name.
pub(crate) fn refuse_newer<T>(file: &str, slots: &[Slot<T>; 2]) -> Result<(), OpenError> {
    for slot in slots {
        if let Slot::Newer(found) = *slot {
            return Err(OpenError::NewerVersion { file: file.to_string(), found, known: FORMAT_VERSION });
        }
    }
    Ok(())
}

/// Reads the headers of all segments. Files that were being made when a crash came never held a record and are removed.
pub(crate) fn survey(storage: &dyn Storage) -> Result<Vec<SeenSegment>, OpenError> {
    let mut seen = Vec::new();
    for (name, bytes) in storage.list(SEGMENTS_DIR).map_err(at("list", SEGMENTS_DIR))? {
        if name.strip_suffix(".tmp").is_some_and(|name| parse_file_name(name).is_some()) {
            storage.remove(&format!("{SEGMENTS_DIR}/{name}")).map_err(at("remove", &name))?;
        }
        let Some(number) = parse_file_name(&name) else { continue };
        let file = storage.open(&path(number), Access::Read).map_err(at("open", &name))?;
        let slots = read_slots(&*file);
        refuse_newer(&name, &slots)?;
        seen.push(SeenSegment { number, bytes, slots, blocks: BlocksSeen::NotLooked });
    }
    Ok(seen)
}

/// The header slots of a segment file.
pub(crate) fn read_slots(file: &dyn File) -> [Slot<SegmentHeader>; 2] {
    let mut slots = [0; DATA_START as usize];
    // An unreadable slot is a damaged one.
    let read = |to: &mut [u8], at| match file.read_at(to, at) {
        Ok(_) => {}
        Err(_) => to.fill(0xff),
    };
    let (first, second) = slots.split_at_mut(BLOCK_BYTES);
    read(first, 0);
    read(second, BLOCK_BYTES as u64);
    [SegmentHeader::decode(first), SegmentHeader::decode(second)]
}

/// The highest generation in the blocks of a segment.
pub(crate) fn look_at_blocks(storage: &dyn Storage, segment: &SeenSegment, seed: BlockSeed) -> io::Result<BlocksSeen> {
    let file = storage.open(&path(segment.number), Access::Read)?;
    let mut window = vec![0; CHUNK_BYTES];
    let (mut generation, mut blank) = (None, true);
    let mut at = DATA_START;
    while at < segment.bytes {
        // What cannot be read is not blank, and says nothing.
        let read = file.read_at(&mut window, at).unwrap_or_else(|_| {
            window.fill(0xff);
            CHUNK_BYTES
        });
        for block in window[..read].chunks_exact(BLOCK_BYTES) {
            generation = generation.max(BlockHeader::decode(block, seed).map(|header| header.generation));
        }
        blank &= window[..read].iter().all(|byte| *byte == 0);
        if read == 0 {
            break;
        }
        at += read as u64;
    }
    let blank = blank && segment.slots.iter().all(|slot| *slot == Slot::Blank);
    Ok(match generation {
        Some(generation) => BlocksSeen::Generation(generation),
        None if blank => BlocksSeen::Blank,
        None => BlocksSeen::Unreadable,
    })
}

/// Moves whole files into the quarantine; `generation` keeps the names of different openings apart.
pub(crate) fn move_aside(storage: &dyn Storage, numbers: &[u64], generation: u64) -> Result<(), OpenError> {
    for number in numbers {
        let name = file_name(*number);
        let to = format!("{QUARANTINE_DIR}/segment-{generation:010}-{name}");
        tracing::error!(segment = number, "a segment that is not of this buffer was set aside");
        storage.rename(&path(*number), &to).map_err(at("set aside", &name))?;
    }
    if !numbers.is_empty() {
        storage.sync_dir(QUARANTINE_DIR).map_err(at("sync", QUARANTINE_DIR))?;
        storage.sync_dir(SEGMENTS_DIR).map_err(at("sync", SEGMENTS_DIR))?;
    }
    Ok(())
}

/// When the first group of a segment was written.
pub(crate) fn oldest_ms(files: &Files, segment: &Segment) -> u64 {
    let mut block = [0; BLOCK_BYTES];
    let read = |file: Box<dyn File>| file.read_at(&mut block, DATA_START).ok();
    let read = files.storage.open(&path(segment.number), Access::Read).ok().and_then(read);
    read.and_then(|_| BlockHeader::decode(&block, files.seed)).map_or(0, |header| header.written_ms)
}
