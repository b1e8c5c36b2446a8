//! The deduplicated events: NDJSON files, one event a line, appended and never changed.
//!
//! Files are `<number>.ndjson`, numbers rising from 1. A file is finished when it has reached its size and the next
//! number exists; finished files belong to whoever reads them and may be moved away or deleted. A batch never spans
//! two files. What is visible to a reader is complete lines and at most one partial line at the very end of the
//! newest file, which only a crash leaves there and the next start cuts.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const EXTENSION: &str = "ndjson";

/// A place between two lines of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The file's number.
    pub number: u64,
    /// Bytes before the place in that file.
    pub offset: u64,
}

/// The newest file, open for appending, and the lines of the batch that is being made.
#[derive(Debug)]
pub struct Output {
    dir: PathBuf,
    file: File,
    end: Place,
    file_bytes_max: u64,
    lines: Vec<u8>,
}

/// What was found behind the place that the ledger names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tail {
    /// Complete lines, handed to the caller.
    pub lines: u64,
    /// Bytes of partial lines that were cut off.
    pub bytes_cut: u64,
    /// Whether bytes that the ledger names are no longer there: somebody removed or shortened the newest file.
    pub missing: bool,
}

/// Name of the file with this number.
fn file_name(number: u64) -> String {
    format!("{number:09}.{EXTENSION}")
}

/// Number of the file with this name; `None` for files that are not ours.
fn file_number(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    let number = stem.parse().ok()?;
    (file_name(number) == path.file_name()?.to_str()?).then_some(number)
}

/// Numbers of all files in `dir`, rising.
fn numbers(dir: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(dir)? {
        numbers.extend(file_number(&entry?.path()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

impl Output {
    /// Opens the output for appending behind everything that is there.
    ///
    /// Every complete line behind `place` goes to `adopt`, because somebody may have read it; before that its bytes
    /// are written again and synced, because after a failed sync the page cache shows what the disk does not have. A
    /// partial last line is cut.
    ///
    /// # Errors
    /// Those of the file system, and of `adopt`.
    pub fn open(
        dir: &Path,
        place: Place,
        file_bytes_max: u64,
        mut adopt: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<(Self, Tail)> {
        fs::create_dir_all(dir)?;
        let found = numbers(dir)?;
        let mut tail = Tail::default();
        let mut end = place;
        if let Some(&newest) = found.last() {
            for &number in found.iter().filter(|&&number| number >= place.number) {
                let start = if number == place.number { place.offset } else { 0 };
                end = Place { number, offset: adopt_file(dir, number, start, &mut tail, &mut adopt)? };
            }
            if newest < place.number {
                end = Place { number: place.number, offset: 0 };
            }
        }
        tail.missing |= place.offset > 0 && !found.contains(&place.number);
        if tail.missing {
            end = Place { number: end.number.max(place.number) + 1, offset: 0 };
        }
        let file = open_file(dir, end.number)?;
        Ok((Self { dir: dir.to_owned(), file, end, file_bytes_max, lines: Vec::new() }, tail))
    }

    /// The place behind the last complete line of the newest file, for an output that no ledger keeps the place of.
    ///
    /// # Errors
    /// Those of the file system.
    pub(crate) fn last_line_end(dir: &Path) -> io::Result<Place> {
        const CHUNK_BYTES: u64 = 64 * 1024;
        fs::create_dir_all(dir)?;
        let number = numbers(dir)?.last().copied().unwrap_or(1);
        let file = open_file(dir, number)?;
        let mut end = file.metadata()?.len();
        while end > 0 {
            let start = end.saturating_sub(CHUNK_BYTES);
            let mut bytes = vec![0; (end - start) as usize];
            file.read_exact_at(&mut bytes, start)?;
            if let Some(last) = bytes.iter().rposition(|&byte| byte == b'\n') {
                return Ok(Place { number, offset: start + last as u64 + 1 });
            }
            end = start;
        }
        Ok(Place { number, offset: 0 })
    }

    /// Where the next line goes.
    pub fn end(&self) -> Place {
        self.end
    }

    /// Adds a line to the batch. `value` is one JSON object without line breaks.
    pub fn push(&mut self, value: &[u8]) {
        debug_assert!(!value.contains(&b'\n'), "a value is one line");
        self.lines.extend_from_slice(value);
        self.lines.push(b'\n');
    }

    /// Writes the batch's lines; gives the places before and behind them, in one file. They are visible to readers at
    /// once, and durable after [`Output::sync`].
    ///
    /// # Errors
    /// Those of the file system. The output must then be opened again: a partial line may be at its end.
    pub fn write(&mut self) -> io::Result<(Place, Place)> {
        if self.end.offset >= self.file_bytes_max {
            let number = self.end.number + 1;
            self.file = open_file(&self.dir, number)?;
            self.end = Place { number, offset: 0 };
        }
        let start = self.end;
        self.file.write_all_at(&self.lines, start.offset)?;
        self.end.offset += self.lines.len() as u64;
        self.lines.clear();
        Ok((start, self.end))
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// As for [`Output::write`].
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Opens or creates a file; its name is durable on return.
fn open_file(dir: &Path, number: u64) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).open(dir.join(file_name(number)))?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}

/// Hands on the complete lines of one file from `start`, cuts what follows the last of them, gives the file's end.
fn adopt_file(
    dir: &Path,
    number: u64,
    start: u64,
    tail: &mut Tail,
    adopt: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    const CHUNK_BYTES: usize = 4 * 1024 * 1024;
    let file = open_file(dir, number)?;
    let length = file.metadata()?.len();
    if length < start {
        tail.missing = true;
        return Ok(length);
    }
    let mut position = start;
    let mut bytes = Vec::new();
    let mut chunk_bytes = CHUNK_BYTES;
    while position < length {
        bytes.resize(chunk_bytes.min((length - position) as usize), 0);
        file.read_exact_at(&mut bytes, position)?;
        let Some(last) = bytes.iter().rposition(|&byte| byte == b'\n') else {
            if position + bytes.len() as u64 == length {
                break;
            }
            chunk_bytes *= 2;
            continue;
        };
        let complete = &bytes[..=last];
        file.write_all_at(complete, position)?;
        file.sync_data()?;
        for line in complete[..last].split(|&byte| byte == b'\n') {
            adopt(line)?;
            tail.lines += 1;
        }
        position += complete.len() as u64;
    }
    if position < length {
        tail.bytes_cut += length - position;
        file.set_len(position)?;
        file.sync_all()?;
    }
    Ok(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Place = Place { number: 1, offset: 0 };

    fn open(dir: &Path, place: Place) -> (Output, Tail, Vec<String>) {
        let mut lines = Vec::new();
        let (output, tail) = Output::open(dir, place, 10, |line| {
            lines.push(String::from_utf8(line.to_vec()).unwrap());
            Ok(())
        })
        .unwrap();
        (output, tail, lines)
    }

    fn write(output: &mut Output, lines: &[&str]) -> Place {
        for line in lines {
            output.push(line.as_bytes());
        }
        output.write().unwrap().1
    }

    #[test]
    fn names_and_numbers_invert() {
        for number in [1, 42, 999_999_999, u64::MAX] {
            assert_eq!(file_number(Path::new(&file_name(number))), Some(number));
        }
        for foreign in ["1.ndjson", "x.ndjson", "000000001.json", "000000001ndjson", "+00000001.ndjson"] {
            assert_eq!(file_number(Path::new(foreign)), None, "{foreign}");
        }
    }

    #[test]
    fn complete_lines_behind_the_place_are_adopted_and_a_partial_one_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let (mut output, tail, _) = open(dir.path(), START);
        assert_eq!(tail, Tail::default());
        let place = write(&mut output, &["a"]);
        write(&mut output, &["b", "c"]);
        output.push(b"half");
        output.lines.pop();
        output.write().unwrap();
        drop(output);
        let (mut output, tail, lines) = open(dir.path(), place);
        assert_eq!(lines, ["b", "c"]);
        assert_eq!(tail, Tail { lines: 2, bytes_cut: 4, missing: false });
        write(&mut output, &["d"]);
        assert_eq!(fs::read(dir.path().join(file_name(1))).unwrap(), b"a\nb\nc\nd\n");
    }

    #[test]
    fn the_last_complete_line_is_found_behind_a_long_partial_one() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Output::last_line_end(dir.path()).unwrap(), START);
        let path = dir.path().join(file_name(2));
        fs::write(&path, [b"one\ntwo\n".as_slice(), &vec![b'x'; 100_000]].concat()).unwrap();
        assert_eq!(Output::last_line_end(dir.path()).unwrap(), Place { number: 2, offset: 8 });
    }

    #[test]
    fn files_are_finished_at_their_size_and_a_batch_stays_in_one() {
        let dir = tempfile::tempdir().unwrap();
        let (mut output, _, _) = open(dir.path(), START);
        let place = write(&mut output, &["0123456", "0123456"]);
        assert_eq!(place, Place { number: 1, offset: 16 });
        assert_eq!(write(&mut output, &["x"]), Place { number: 2, offset: 2 });
        drop(output);
        let (_, tail, lines) = open(dir.path(), place);
        assert_eq!((lines, tail.lines), (vec!["x".to_owned()], 1));
    }

    #[test]
    fn a_removed_file_is_told_and_its_number_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mut output, _, _) = open(dir.path(), START);
        let place = write(&mut output, &["a"]);
        drop(output);
        fs::remove_file(dir.path().join(file_name(1))).unwrap();
        let (output, tail, _) = open(dir.path(), place);
        assert!(tail.missing);
        assert_eq!(output.end(), Place { number: 2, offset: 0 });
    }

    #[test]
    fn a_shortened_file_is_told_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (mut output, _, _) = open(dir.path(), START);
        let place = write(&mut output, &["abcdef"]);
        fs::write(dir.path().join(file_name(1)), b"abc").unwrap();
        let (output, tail, _) = open(dir.path(), place);
        assert!(tail.missing);
        assert_eq!(output.end(), Place { number: 2, offset: 0 });
        assert_eq!(fs::read(dir.path().join(file_name(1))).unwrap(), b"abc");
    }
}
