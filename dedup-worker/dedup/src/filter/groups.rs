//! Filters over neighbouring runs, so that "is it anywhere" costs a handful of probes and not one a run.
//!
//! A filter cannot grow, and filling one again means reading its runs. So groups are sized by what the index holds when
//! they begin. While an index grows each new one has room for as much as there is, so that a hundredfold growth makes
//! eight of them; once runs expire, for half of it, so that there are three or four. Opening an index, which reads every
//! run anyway, makes them anew.
//!
//! A group goes when its last run does. Until then expired identities in it let a few more through, which costs a look
//! at their runs' description and nothing else.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::blocked::{BlockedFilter, Probe};

/// What a new group has room for, as a share of the index: while nothing has expired yet, after that, and when an
/// index is opened and its size is known.
const GROWING_SHARE: usize = 1;
const STEADY_SHARE: usize = 2;
const OPENING_SHARE: usize = 4;

/// A filter and the runs it covers.
#[derive(Debug)]
pub(crate) struct Group {
    filter: BlockedFilter,
    /// Numbers of the runs; none until the first has joined.
    runs: Range<u32>,
    keys: usize,
    keys_max: usize,
}

#[derive(Debug)]
pub(crate) struct Groups {
    /// Oldest first; the last is the one that new runs join.
    members: VecDeque<Group>,
    keys_min: usize,
    /// Runs have been dropped: the index is as large as it gets.
    is_steady: bool,
}

impl Groups {
    /// No groups yet; each will have room for at least `keys_min`.
    pub(crate) fn new(keys_min: usize) -> Self {
        Self { members: VecDeque::new(), keys_min, is_steady: false }
    }

    pub(crate) fn len(&self) -> usize {
        self.members.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.members.iter().map(|group| group.filter.bytes()).sum()
    }

    /// Identities in the filters, and how many they have room for.
    pub(crate) fn fill(&self) -> (usize, usize) {
        self.members.iter().fold((0, 0), |(keys, room), group| (keys + group.keys, room + group.keys_max))
    }

    /// Makes room for `keys` more in the last group, or a new one. `index_keys` are in the index.
    ///
    /// # Errors
    /// Where the system has no memory left; nothing has changed then.
    pub(crate) fn make_room(&mut self, keys: usize, index_keys: usize) -> io::Result<()> {
        self.make_room_of(keys, index_keys / if self.is_steady { STEADY_SHARE } else { GROWING_SHARE })
    }

    /// The same while an index that holds `index_keys` in all is opened.
    ///
    /// # Errors
    /// Where the system has no memory left.
    pub(crate) fn make_room_opening(&mut self, keys: usize, index_keys: usize) -> io::Result<()> {
        self.make_room_of(keys, index_keys.div_ceil(OPENING_SHARE))
    }

    fn make_room_of(&mut self, keys: usize, share: usize) -> io::Result<()> {
        if self.members.back().is_none_or(|group| group.keys + keys > group.keys_max) {
            let keys_max = share.max(keys).max(self.keys_min);
            let filter = BlockedFilter::new(keys_max)?;
            // Room that was made for a run which could not be written, and is too small for the next attempt.
            if self.members.back().is_some_and(|group| group.runs.is_empty()) {
                self.members.pop_back();
            }
            self.members.push_back(Group { filter, runs: 0..0, keys: 0, keys_max });
        }
        Ok(())
    }

    /// The filter that run number `run` joins with `keys` identities; room for them has been made.
    pub(crate) fn join(&mut self, run: u32, keys: usize) -> &mut BlockedFilter {
        let group = self.members.back_mut().expect("room was made");
        if group.runs.is_empty() {
            group.runs.start = run;
        }
        group.runs.end = run + 1;
        group.keys += keys;
        assert!(group.keys <= group.keys_max, "room was made");
        &mut group.filter
    }

    /// Forgets the groups whose runs are all older than `first_run`.
    pub(crate) fn drop_before(&mut self, first_run: u32) {
        self.is_steady = true;
        while self.members.front().is_some_and(|group| group.runs.end <= first_run) {
            self.members.pop_front();
        }
    }

    #[inline]
    pub(crate) fn prefetch(&self, probe: &Probe) {
        for group in &self.members {
            group.filter.prefetch(probe);
        }
    }

    /// The runs of each group that may hold the key, the newest group first. Some may have been dropped.
    #[inline]
    pub(crate) fn passing(&self, probe: &Probe) -> impl Iterator<Item = Range<u32>> {
        self.members.iter().rev().filter(move |group| group.filter.contains(probe)).map(|group| group.runs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Fingerprint;

    #[test]
    fn a_growing_index_has_few_groups_and_a_steady_one_fewer() {
        const RUN: usize = 100;
        let mut groups = Groups::new(RUN);
        for run in 0..100 {
            groups.make_room(RUN, run as usize * RUN).unwrap();
            groups.join(run, RUN);
        }
        assert_eq!(groups.len(), 8);
        let (keys, room) = groups.fill();
        assert!(keys == 100 * RUN && room >= keys && room < 2 * keys, "{keys} of {room}");
        assert!(groups.members.iter().all(|group| group.keys <= group.keys_max));
        assert!(groups.members.iter().zip(groups.members.iter().skip(1)).all(|(a, b)| a.runs.end == b.runs.start));

        // A steady index of 100 runs: the oldest goes as a new one comes.
        for run in 100..1_000 {
            groups.drop_before(run - 100);
            groups.make_room(RUN, 100 * RUN).unwrap();
            groups.join(run, RUN);
        }
        assert!((3..=4).contains(&groups.len()), "{}", groups.len());
    }

    #[test]
    fn opening_makes_four_groups_or_five() {
        let mut groups = Groups::new(1);
        for run in 0..50 {
            groups.make_room_opening(1_000 + run as usize, 50 * 1_025).unwrap();
            groups.join(run, 1_000 + run as usize);
        }
        assert!((4..=5).contains(&groups.len()), "{}", groups.len());
    }

    #[test]
    fn room_that_was_not_used_is_not_kept() {
        let mut groups = Groups::new(10);
        groups.make_room(10, 0).unwrap();
        groups.join(0, 10);
        for keys in 11..100 {
            groups.make_room(keys, 10).unwrap();
        }
        assert_eq!(groups.len(), 2);
    }

    #[test]
    fn a_key_leads_to_the_runs_of_its_group() {
        let key = Fingerprint::from_bits(0x1234_5678_9abc_def0_1111_2222);
        let mut groups = Groups::new(1);
        for run in [5, 6, 7] {
            groups.make_room(10, 0).unwrap();
            groups.join(run, 10);
        }
        groups.make_room(1, 0).unwrap();
        groups.join(8, 1).insert(key);
        assert!(groups.passing(&Probe::new(key)).eq(std::iter::once(8..9)));
        groups.drop_before(9);
        assert_eq!((groups.len(), groups.passing(&Probe::new(key)).count()), (0, 0));
    }
}
