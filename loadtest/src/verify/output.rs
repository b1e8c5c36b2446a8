//! Reads `*.ndjson` of a directory with several threads, each a piece of a file at a time.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::source::{Found, Place};
use crate::Error;

/// Bytes of a piece: large enough that the line at its edge does not matter, small enough for many threads.
const PIECE_BYTES: u64 = 4 << 20;
/// Bytes of one line. Events have at most 32 KiB when they come in; what is longer than this is not read on.
const LINE_BYTES_MAX: usize = 4 << 20;
/// How much is read at a time to find the end of a line that leaves its piece.
const REST_BYTES: usize = 64 << 10;

/// A file and the length that is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OutputFile {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

/// The output files of a directory in the order of their names.
pub(super) fn files(dir: &Path) -> Result<Vec<OutputFile>, Error> {
    let usage = |error: io::Error| {
        Error::Usage(format!("--output {}: {error} (the directory with the *.ndjson files)", dir.display()))
    };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(usage)? {
        let path = entry.map_err(usage)?.path();
        if path.extension().is_some_and(|extension| extension == "ndjson") {
            // A file may be renamed or removed between the two looks; the next look settles it.
            if let Ok(metadata) = path.metadata() {
                files.push(OutputFile { path, bytes: metadata.len() });
            }
        }
    }
    if files.is_empty() && dir.join("deduped").is_dir() {
        let message =
            format!("--output {}: no *.ndjson there; did you mean {}?", dir.display(), dir.join("deduped").display());
        return Err(Error::Usage(message));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Reads all files with `threads` threads. Each makes its own reader with `start`, which gets every line with its file
/// and offset, and gives it back at the end.
pub(super) fn read<R: Send>(
    files: &[OutputFile],
    threads: usize,
    start: impl Fn() -> R + Sync,
    take: impl Fn(&mut R, Place<'_>, Found<'_>) + Sync,
) -> Result<Vec<R>, Error> {
    let pieces: Vec<(&OutputFile, u64)> = files
        .iter()
        .flat_map(|file| (0..file.bytes).step_by(PIECE_BYTES as usize).map(move |offset| (file, offset)))
        .collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let work = || {
            let mut reader = start();
            let mut buffer = Vec::new();
            while let Some(&(file, offset)) = pieces.get(next.fetch_add(1, Ordering::Relaxed)) {
                let path = file.path.as_path();
                let take = |at, found: Found<'_>| take(&mut reader, Place::Line { path, at }, found);
                let read = read_piece(file, offset, &mut buffer, take);
                read.map_err(|error| Error::file("read", &file.path, &error))?;
            }
            Ok(reader)
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("a reader panicked")).collect()
    })
}

/// Hands over every line that starts inside the piece.
fn read_piece(
    file: &OutputFile,
    offset: u64,
    buffer: &mut Vec<u8>,
    mut take: impl FnMut(u64, Found<'_>),
) -> io::Result<()> {
    let source = File::open(&file.path)?;
    // The byte before tells whether a line starts right here.
    let from = offset.saturating_sub(1);
    let end = (offset + PIECE_BYTES).min(file.bytes);
    buffer.resize((end - from) as usize, 0);
    source.read_exact_at(buffer, from)?;
    let mut at = match offset {
        0 => 0,
        _ => match memchr::memchr(b'\n', buffer) {
            Some(newline) => newline + 1,
            None => return Ok(()),
        },
    };
    let piece_bytes = buffer.len();
    while at < piece_bytes {
        let place = from + at as u64;
        let mut searched = at;
        let line_end = loop {
            if let Some(found) = memchr::memchr(b'\n', &buffer[searched..]) {
                break searched + found;
            }
            searched = buffer.len();
            let read_to = from + searched as u64;
            if read_to == file.bytes {
                take(place, Found::Torn);
                return Ok(());
            }
            if searched - at > LINE_BYTES_MAX {
                take(place, Found::TooLong);
                return Ok(());
            }
            let more = (file.bytes - read_to).min(REST_BYTES as u64) as usize;
            buffer.resize(searched + more, 0);
            source.read_exact_at(&mut buffer[searched..], read_to)?;
        };
        take(place, Found::Line(&buffer[at..line_end]));
        at = line_end + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every line or tail with its offset, in order.
    fn lines(files: &[OutputFile]) -> Vec<(u64, usize, bool)> {
        let readers = read(files, 3, Vec::new, |lines: &mut Vec<_>, place, found| {
            let Place::Line { at, .. } = place else { panic!("{place}") };
            lines.push(match found {
                Found::Line(line) => (at, line.len(), true),
                Found::Torn => (at, 0, false),
                Found::TooLong => (at, usize::MAX, false),
            });
        });
        let mut lines = readers.expect("reads").concat();
        lines.sort_unstable();
        lines
    }

    fn written(text: &[u8]) -> (tempfile::TempDir, Vec<OutputFile>) {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("a.ndjson"), text).expect("writes");
        std::fs::write(dir.path().join("a.tmp"), "not looked at\n").expect("writes");
        let files = files(dir.path()).expect("lists");
        (dir, files)
    }

    #[test]
    fn each_line_comes_once_wherever_the_pieces_meet() {
        let piece = PIECE_BYTES as usize;
        for first in [piece - 2, piece - 1, piece, piece + 1, 2 * piece + 5] {
            let mut text = vec![b'x'; first];
            text.extend_from_slice(b"\n\nab\n");
            text.extend(vec![b'y'; 100]);
            let (_dir, files) = written(&text);
            let first_line = if first > LINE_BYTES_MAX + REST_BYTES { usize::MAX } else { first };
            let at = first as u64;
            let expected =
                [(0, first_line, first_line == first), (at + 1, 0, true), (at + 2, 2, true), (at + 5, 0, false)];
            assert_eq!(lines(&files), expected, "{first}");
        }
    }

    #[test]
    fn nothing_is_in_an_empty_file() {
        let (_dir, files) = written(b"");
        assert_eq!(files.len(), 1);
        assert_eq!(lines(&files), []);
    }

    #[test]
    fn the_parent_directory_is_recognised() {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("deduped")).expect("creates");
        let error = files(dir.path()).expect_err("not the output itself");
        assert!(error.to_string().contains("did you mean"), "{error}");
        assert_eq!(files(&dir.path().join("none")).expect_err("not there").exit_code(), 2);
    }
}
