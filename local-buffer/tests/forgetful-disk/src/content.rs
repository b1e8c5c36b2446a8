//! The bytes of a file, as programs see them and as the disk has them. Pure.

use rand::Rng;
use rand::rngs::SmallRng;

use crate::Fate;

/// Sector of the disk: a write that is cut may be there in any of them.
const SECTOR_BYTES: usize = 512;

/// A change that programs see and the disk may not have.
enum Change {
    Write { at: usize, bytes: Vec<u8>, synced: bool },
    Resize(usize),
}

/// The content of a file.
#[derive(Default)]
pub(crate) struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    /// In the order in which they were made.
    changes: Vec<Change>,
}

impl Content {
    /// A file whose bytes are all durable.
    pub(crate) fn of(bytes: Vec<u8>) -> Self {
        Self { seen: bytes.clone(), durable: bytes, changes: Vec::new() }
    }

    /// What programs see.
    pub(crate) fn seen(&self) -> &[u8] {
        &self.seen
    }

    /// Writes; a synced write survives a cut, whatever was written there before it.
    pub(crate) fn write(&mut self, at: usize, bytes: &[u8], synced: bool) {
        put(&mut self.seen, at, bytes);
        if synced && self.changes.is_empty() {
            put(&mut self.durable, at, bytes);
        } else {
            self.changes.push(Change::Write { at, bytes: bytes.to_vec(), synced });
        }
    }

    /// Cuts the file off, or lengthens it with zeros.
    pub(crate) fn resize(&mut self, bytes: usize) {
        self.seen.resize(bytes, 0);
        self.changes.push(Change::Resize(bytes));
    }

    /// Makes everything durable.
    pub(crate) fn sync(&mut self) {
        for change in self.changes.drain(..) {
            match change {
                Change::Write { at, bytes, .. } => put(&mut self.durable, at, &bytes),
                Change::Resize(bytes) => self.durable.resize(bytes, 0),
            }
        }
    }

    /// What the disk has after a power cut.
    pub(crate) fn after_cut(&self, fate: Fate, random: &mut SmallRng) -> Vec<u8> {
        let mut left = self.durable.clone();
        for change in &self.changes {
            match change {
                Change::Write { at, bytes, synced: true } => put(&mut left, *at, bytes),
                Change::Write { at, bytes, synced: false } => tear(&mut left, *at, bytes, fate, random),
                Change::Resize(bytes) if fate.keeps(random) => left.resize(*bytes, 0),
                Change::Resize(_) => {}
            }
        }
        left
    }
}

/// Keeps a write, or some of its sectors, or its start up to any byte, or nothing.
fn tear(to: &mut Vec<u8>, at: usize, bytes: &[u8], fate: Fate, random: &mut SmallRng) {
    match fate {
        Fate::AllKept => put(to, at, bytes),
        Fate::AllLost => {}
        Fate::Each => match random.random_range(0..4) {
            0 => put(to, at, bytes),
            1 => {
                for (number, sector) in bytes.chunks(SECTOR_BYTES).enumerate() {
                    if random.random_bool(0.5) {
                        put(to, at + number * SECTOR_BYTES, sector);
                    }
                }
            }
            2 => put(to, at, &bytes[..random.random_range(0..=bytes.len())]),
            _ => {}
        },
    }
}

fn put(to: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if to.len() < at + bytes.len() {
        to.resize(at + bytes.len(), 0);
    }
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn what_was_synced_stays_and_what_was_not_has_its_fate() {
        let mut content = Content::default();
        content.write(0, &[1; 2000], false);
        content.sync();
        content.write(0, &[2; 1000], false);
        content.write(500, &[3; 100], true);
        content.write(1000, &[4; 1000], false);
        let mut random = SmallRng::seed_from_u64(1);
        let lost = content.after_cut(Fate::AllLost, &mut random);
        assert_eq!((lost[0], lost[550], lost[1500]), (1, 3, 1));
        let kept = content.after_cut(Fate::AllKept, &mut random);
        assert_eq!(kept, content.seen());
        let mut torn = 0;
        for _ in 0..100 {
            let left = content.after_cut(Fate::Each, &mut random);
            assert_eq!((left.len(), &left[500..600]), (2000, &[3; 100][..]));
            torn += usize::from(left[1000..].contains(&1) && left[1000..].contains(&4));
        }
        assert!(torn > 10, "hardly ever torn: {torn}");
    }
}
