//! Filters over neighbouring runs, so that "is it anywhere" costs a handful of probes and not one a run.
//!
//! A filter cannot grow, and filling one again means reading its runs. So groups are sized by what the index holds when
//! they begin: a new one has room for half of all identities, and at least for the run that opens it. Early on there are
//! many small groups (about a dozen by the time an index has grown a hundredfold), their filters in the processor's
//! caches; in steady state there are three or four. Opening an index, which reads every run anyway, makes them anew.
//!
//! A group goes when its last run does. Until then expired identities in it let a few more through, which costs a look
//! at their runs' description and nothing else.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::blocked::BlockedFilter;
use crate::fingerprint::Fingerprint;

/// Share of the index that a new group has room for, when it grows by sealing.
const GROWING_SHARE: usize = 2;
/// The same when an index is opened and its size is known.
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
    groups: VecDeque<Group>,
    keys_min: usize,
}

impl Groups {
    /// No groups yet; each will have room for at least `keys_min`.
    pub(crate) fn new(keys_min: usize) -> Self {
        Self { groups: VecDeque::new(), keys_min }
    }

    pub(crate) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.groups.iter().map(|group| group.filter.bytes()).sum()
    }

    /// Makes room for `keys` more in the last group, or a new one. `index_keys` are in the index.
    ///
    /// # Errors
    /// Where the system has no memory left; nothing has changed then.
    pub(crate) fn make_room(&mut self, keys: usize, index_keys: usize) -> io::Result<()> {
        self.make_room_of(keys, index_keys / GROWING_SHARE)
    }

    /// The same while an index that holds `index_keys` in all is opened.
    ///
    /// # Errors
    /// Where the system has no memory left.
    pub(crate) fn make_room_opening(&mut self, keys: usize, index_keys: usize) -> io::Result<()> {
        self.make_room_of(keys, index_keys.div_ceil(OPENING_SHARE))
    }

    fn make_room_of(&mut self, keys: usize, share: usize) -> io::Result<()> {
        if self.groups.back().is_none_or(|group| group.keys + keys > group.keys_max) {
            let keys_max = share.max(keys).max(self.keys_min);
            let filter = BlockedFilter::new(keys_max)?;
            self.groups.push_back(Group { filter, runs: 0..0, keys: 0, keys_max });
        }
        Ok(())
    }

    /// The filter that run number `run` joins with `keys` identities; room for them has been made.
    pub(crate) fn join(&mut self, run: u32, keys: usize) -> &mut BlockedFilter {
        let group = self.groups.back_mut().expect("room was made");
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
        while self.groups.front().is_some_and(|group| group.runs.end <= first_run) {
            self.groups.pop_front();
        }
    }

    pub(crate) fn prefetch(&self, key: Fingerprint) {
        for group in &self.groups {
            group.filter.prefetch(key);
        }
    }

    /// The runs of each group that may hold `key`, the newest group first. Some may have been dropped.
    pub(crate) fn passing(&self, key: Fingerprint) -> impl Iterator<Item = Range<u32>> {
        self.groups.iter().rev().filter(move |group| group.filter.contains(key)).map(|group| group.runs.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_groups_have_room_for_half_of_the_index() {
        const RUN: usize = 100;
        let mut groups = Groups::new(RUN);
        for run in 0..100 {
            groups.make_room(RUN, run as usize * RUN).unwrap();
            groups.join(run, RUN);
        }
        assert!((8..=14).contains(&groups.len()), "{}", groups.len());
        assert!(groups.groups.iter().all(|group| group.keys <= group.keys_max));
        assert!(groups.groups.iter().zip(groups.groups.iter().skip(1)).all(|(a, b)| a.runs.end == b.runs.start));

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
    fn a_key_leads_to_the_runs_of_its_group() {
        let key = Fingerprint::from_bits(0x1234_5678_9abc_def0_1111_2222);
        let mut groups = Groups::new(1);
        for run in [5, 6, 7] {
            groups.make_room(10, 0).unwrap();
            groups.join(run, 10);
        }
        groups.make_room(1, 0).unwrap();
        groups.join(8, 1).insert(key);
        assert!(groups.passing(key).eq(std::iter::once(8..9)));
        groups.drop_before(9);
        assert_eq!((groups.len(), groups.passing(key).count()), (0, 0));
    }
}
