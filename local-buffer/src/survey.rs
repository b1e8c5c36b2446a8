//! Looking at the segment files of a directory before anything is changed, and moving aside what is not ours.

use std::io;

use crate::error::OpenError;
use crate::format::{BLOCK_BYTES, BlockHeader, BlockSeed, DATA_START, FORMAT_VERSION};
use crate::memory::CHUNK_BYTES;
use crate::quarantine::QUARANTINE_DIR;
use crate::recovery::{BlocksSeen, SeenSegment};
use crate::segment::{Files, SEGMENTS_DIR, Segment, file_name, parse_file_name, path};
use crate::slot::{SLOTS_BYTES, SegmentHeader, Slot, read_slot_bytes};
use crate::storage::{Access, File, Storage, UNREADABLE};

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
    if let Some(newest) = seen.iter_mut().max_by_key(|segment| segment.active_generation()) {
        let name = file_name(newest.number);
        newest.slots = settled_headers(storage, newest.number).map_err(at("read", &name))?;
    }
    Ok(seen)
}

/// The header slots of a segment file. One that cannot be read is a damaged one.
pub(crate) fn read_slots(file: &dyn File) -> [Slot<SegmentHeader>; 2] {
    let bytes = read_slot_bytes(file).unwrap_or([UNREADABLE; SLOTS_BYTES as usize]);
    let slot = |number: usize| {
        SegmentHeader::decode(&bytes[number * BLOCK_BYTES..]).in_its_place(number, |header| header.sequence)
    };
    [slot(0), slot(1)]
}

/// The headers of the newest segment as the disk has them. Its header may have been written and never synced, and says
/// that the segments before it are done: they must not be given up for what a power cut may still take away.
fn settled_headers(storage: &dyn Storage, number: u64) -> io::Result<[Slot<SegmentHeader>; 2]> {
    let file = storage.open(&path(number), Access::Write)?;
    if let Err(error) = file.sync() {
        tracing::warn!(%error, "the newest segment could not be synced");
    }
    file.forget_cached()?;
    Ok(read_slots(&*file))
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
    Ok(match generation {
        Some(generation) => BlocksSeen::Generation(generation),
        None if blank => BlocksSeen::Blank,
        None => BlocksSeen::Unreadable,
    })
}

/// Moves a file into the quarantine that stands in the place of `meta` or `floor` and has no slot of theirs: a segment
/// under a wrong name would be overwritten otherwise.
pub(crate) fn move_strange<T>(storage: &dyn Storage, name: &str, slots: &[Slot<T>; 2]) -> Result<(), OpenError> {
    let strange =
        slots.iter().all(|slot| slot.good().is_none()) && slots.iter().any(|slot| !matches!(slot, Slot::Blank));
    if !strange {
        return Ok(());
    }
    let there = storage.list(QUARANTINE_DIR).map_err(at("list", QUARANTINE_DIR))?;
    let number = (0..there.len()).find(|number| there.iter().all(|(file, _)| *file != strange_name(name, *number)));
    let to = format!("{QUARANTINE_DIR}/{}", strange_name(name, number.unwrap_or(there.len())));
    tracing::error!(file = name, "a file that is not what its name says was set aside");
    storage.rename(name, &to).map_err(at("set aside", name))?;
    storage.sync_dir(QUARANTINE_DIR).map_err(at("sync", QUARANTINE_DIR))?;
    storage.sync_dir("").map_err(at("sync", ""))
}

fn strange_name(name: &str, number: usize) -> String {
    format!("{name}-{number:010}")
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
