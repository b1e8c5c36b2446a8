//! What a power cut may leave of a disk: each thing in doubt is decided by `choose`, which picks one of so many.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sim::SECTOR_BYTES;
use crate::sim::state::{Inode, State, put_at};

/// Picks a number below the one that it is given.
pub(crate) type Choose<'a> = dyn FnMut(usize) -> usize + 'a;

impl State {
    /// The disk after the power came back. The same choices give the same disk.
    pub(crate) fn after_cut(&self, choose: &mut Choose<'_>) -> Self {
        let mut names = self.durable_names.clone();
        for change in &self.changes {
            if choose(2) == 1 {
                change.apply(&mut names);
            }
        }
        let mut contents = BTreeMap::new();
        for file in names.values() {
            contents.entry(*file).or_insert_with(|| self.files[*file].after_cut(choose));
        }
        Self::of(names.into_iter().map(|(name, file)| (name, Arc::clone(&contents[&file]))))
    }

    /// The disk after the process died: the call under way was done, and what is in doubt stays so.
    pub(crate) fn after_kill(&self) -> Self {
        let mut state = self.clone();
        state.names = self.durable_names.clone();
        self.changes.iter().for_each(|change| change.apply(&mut state.names));
        state
    }

    /// The disk after a cut in the middle of the newest write, which is there up to a byte, or from it on, in a file
    /// where nothing else is in doubt. `None`: there is no such write.
    pub(crate) fn torn_at(&self, byte: usize, head: bool) -> Option<Self> {
        let number = self.files.iter().rposition(|file| !file.unsynced.is_empty())?;
        let file = &self.files[number];
        let (at, bytes) = file.unsynced.last()?;
        if byte >= bytes.len() || file.unsynced.len() > 1 {
            return None;
        }
        let (at, part) = if head { (*at, &bytes[..byte]) } else { (at + byte, &bytes[byte..]) };
        let mut disk = file.disk.to_vec();
        put_at(&mut disk, at, part);
        let disk = Arc::new(disk);
        let content = |file: &usize| if *file == number { &disk } else { &self.files[*file].disk };
        Some(Self::of(self.names.iter().map(|(name, file)| (name.clone(), Arc::clone(content(file))))))
    }
}

impl Inode {
    fn after_cut(&self, choose: &mut Choose<'_>) -> Arc<Vec<u8>> {
        if self.unsynced.is_empty() {
            return Arc::clone(&self.disk);
        }
        let mut bytes = self.disk.to_vec();
        for (sector, versions) in self.doubtful() {
            let version = &versions[choose(versions.len())];
            put_at(&mut bytes, sector * SECTOR_BYTES, version);
        }
        // The length is known to the disk apart from the bytes.
        let end = self.unsynced.iter().map(|(at, bytes)| at + bytes.len()).max().unwrap_or(0);
        if end > self.disk.len() {
            let first = self.disk.len().div_ceil(SECTOR_BYTES);
            let lengths = end.div_ceil(SECTOR_BYTES) - first + 1;
            let length = (first + choose(lengths)) * SECTOR_BYTES;
            bytes.resize(length.clamp(self.disk.len(), end), 0);
        } else {
            bytes.truncate(self.disk.len());
        }
        Arc::new(bytes)
    }

    /// Sectors that may have more than one content, each with all of those, oldest first.
    fn doubtful(&self) -> BTreeMap<usize, Vec<Vec<u8>>> {
        let mut doubtful: BTreeMap<usize, Vec<Vec<u8>>> = BTreeMap::new();
        let on_disk = |sector: usize| {
            let start = (sector * SECTOR_BYTES).min(self.disk.len());
            let mut bytes = self.disk[start..(start + SECTOR_BYTES).min(self.disk.len())].to_vec();
            bytes.resize(SECTOR_BYTES, 0);
            bytes
        };
        for (at, write) in &self.unsynced {
            for sector in at / SECTOR_BYTES..(at + write.len()).div_ceil(SECTOR_BYTES) {
                let versions = doubtful.entry(sector).or_insert_with(|| vec![on_disk(sector)]);
                let mut next = versions.last().cloned().unwrap_or_default();
                let start = sector * SECTOR_BYTES;
                let (from, to) = (start.max(*at), (start + SECTOR_BYTES).min(at + write.len()));
                next[from - start..to - start].copy_from_slice(&write[from - at..to - at]);
                if !versions.contains(&next) {
                    versions.push(next);
                }
            }
        }
        doubtful.retain(|_, versions| versions.len() > 1);
        doubtful
    }
}

/// Choices by dice.
pub(crate) fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    // SplitMix64.
    let mut state = seed;
    move |sides| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }
}

/// All choices, one after the other: the last one that can be raised is, and those behind it begin anew.
#[derive(Default)]
pub(crate) struct Odometer {
    /// Each choice that was asked for, and of how many.
    wheels: Vec<(usize, usize)>,
    asked: usize,
}

impl Odometer {
    pub(crate) fn choose(&mut self, sides: usize) -> usize {
        if self.asked == self.wheels.len() {
            self.wheels.push((0, sides));
        }
        let (chosen, known) = self.wheels[self.asked];
        debug_assert_eq!(known, sides, "the same choices lead to the same questions");
        self.asked += 1;
        chosen
    }

    /// Goes on to the next choices. `false`: all were made.
    pub(crate) fn advance(&mut self) -> bool {
        self.wheels.truncate(self.asked);
        self.asked = 0;
        while let Some((chosen, sides)) = self.wheels.pop() {
            if chosen + 1 < sides {
                self.wheels.push((chosen + 1, sides));
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::NameChange;

    /// Every disk that a cut may leave, as name and content.
    fn all(state: &State) -> Vec<Vec<(String, Vec<u8>)>> {
        let mut odometer = Odometer::default();
        let mut found = Vec::new();
        loop {
            let left = state.after_cut(&mut |sides| odometer.choose(sides));
            found.push(left.names.iter().map(|(name, file)| (name.clone(), left.files[*file].disk.to_vec())).collect());
            if !odometer.advance() {
                return found;
            }
        }
    }

    #[test]
    fn a_cut_leaves_any_version_of_each_sector_and_any_of_the_names() {
        let mut state = State::of([("a".to_string(), Arc::new(vec![0; 1024]))].into_iter());
        state.files[0].write(0, vec![1; 1024]);
        state.files[0].write(512, vec![2; 512]);
        let left = all(&state);
        assert_eq!(left.len(), 2 * 3);
        assert!(left.iter().any(|files| files[0].1[0] == 0 && files[0].1[512] == 1), "reordered");
        state.files[0].sync();
        assert_eq!(all(&state).len(), 1);

        let file = state.new_file();
        state.changes.push(NameChange::Link { name: "b".to_string(), file });
        state.changes.push(NameChange::Rename { from: "b".to_string(), to: "c".to_string(), file });
        let names: Vec<Vec<String>> =
            all(&state).into_iter().map(|files| files.into_iter().map(|(name, _)| name).collect()).collect();
        assert_eq!(names, [vec!["a"], vec!["a", "c"], vec!["a", "b"], vec!["a", "c"]]);
    }

    #[test]
    fn what_a_failed_sync_left_clean_is_written_by_no_later_one_and_may_be_forgotten() {
        let mut state = State::of([("a".to_string(), Arc::new(vec![0; 1024]))].into_iter());
        let file = &mut state.files[0];
        file.write(0, vec![1; 1024]);
        file.fail_sync(128);
        file.sync();
        assert_eq!((file.seen[1023], file.disk[0], file.disk[1023]), (1, 1, 0));
        file.forget();
        assert_eq!((file.seen[0], file.seen[1023]), (1, 0));
    }
}
