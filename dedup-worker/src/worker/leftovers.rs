//! Indexes of lanes that this worker had and has no more. They are worth their room, because a lane that comes back is taken
//! over the sooner, and not more: the ones that were used longest ago go, until the others fit into the budget.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use dedup::Index;
use ownership::Board;
use service::Shutdown;
use tracing::{info, warn};

use super::spec::{index_dir, lane_of_dir};

/// Between two looks.
const PERIOD: Duration = Duration::from_mins(1);

/// An index that nobody here works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Leftover {
    lane: u32,
    bytes: u64,
    used: SystemTime,
}

/// Looks every minute, until it is told to stop, and removes what is too much.
pub(crate) fn age_out(data: &Path, budget_bytes: u64, board: &Board, stop: &Shutdown) {
    loop {
        let owned: Vec<u32> = board.lanes().into_iter().map(|(lane, _)| lane).collect();
        match leftovers(data, &owned) {
            Ok(all) => too_much(all, budget_bytes).into_iter().for_each(|leftover| remove(data, leftover)),
            Err(error) => warn!(data = %data.display(), %error, "indexes of lanes owned no more cannot be looked at"),
        }
        if stop.wait_timeout(PERIOD) {
            return;
        }
    }
}

/// Those that have to go, the one that was used longest ago first.
fn too_much(mut all: Vec<Leftover>, budget_bytes: u64) -> Vec<Leftover> {
    all.sort_by_key(|leftover| leftover.used);
    let mut bytes: u64 = all.iter().map(|leftover| leftover.bytes).sum();
    let goes = |leftover: &Leftover| {
        let is_over = bytes > budget_bytes;
        bytes -= if is_over { leftover.bytes } else { 0 };
        is_over
    };
    all.into_iter().take_while(goes).collect()
}

/// A lane that came back meanwhile has its index open, which is then not removed; one that comes back later replays.
fn remove(data: &Path, Leftover { lane, bytes, .. }: Leftover) {
    match Index::destroy(&index_dir(data, lane)) {
        Ok(()) => info!(lane, bytes, "the index of a lane owned no more was removed, for room"),
        Err(error) => warn!(lane, %error, "the index of a lane owned no more was not removed"),
    }
}

fn leftovers(data: &Path, owned: &[u32]) -> io::Result<Vec<Leftover>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(data)? {
        let path = entry?.path();
        let Some(lane) = lane_of_dir(&path).filter(|lane| !owned.contains(lane)) else { continue };
        let (bytes, used) = measured(path)?;
        found.push(Leftover { lane, bytes, used });
    }
    Ok(found)
}

/// Bytes below a folder, and when the newest of its files was written. What goes meanwhile counts for nothing.
fn measured(folder: PathBuf) -> io::Result<(u64, SystemTime)> {
    let (mut bytes, mut used, mut folders) = (0, SystemTime::UNIX_EPOCH, vec![folder]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                folders.push(entry.path());
            } else {
                bytes += metadata.len();
                used = used.max(metadata.modified()?);
            }
        }
    }
    Ok((bytes, used))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leftover(lane: u32, bytes: u64, minutes_ago: u64) -> Leftover {
        let used = SystemTime::UNIX_EPOCH + Duration::from_mins(1_000 - minutes_ago);
        Leftover { lane, bytes, used }
    }

    #[test]
    fn the_one_used_longest_ago_goes_first_and_no_more_than_must() {
        let all = vec![leftover(1, 40, 5), leftover(2, 30, 90), leftover(3, 20, 30)];
        let gone = |budget_bytes| -> Vec<u32> {
            too_much(all.clone(), budget_bytes).into_iter().map(|leftover| leftover.lane).collect()
        };
        assert_eq!(gone(90), [0; 0]);
        assert_eq!(gone(89), [2]);
        assert_eq!(gone(59), [2, 3]);
        assert_eq!(gone(0), [2, 3, 1]);
    }

    #[test]
    fn only_indexes_of_lanes_owned_no_more_are_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, bytes) in [("index-00001", 10), ("index-00002", 20), ("index-1x", 30), ("shadow", 40)] {
            let store = dir.path().join(folder).join("store");
            fs::create_dir_all(&store).unwrap();
            fs::write(store.join("000001.sst"), vec![0; bytes]).unwrap();
        }
        fs::write(dir.path().join("lock"), b"x").unwrap();
        let found = leftovers(dir.path(), &[1]).unwrap();
        assert_eq!(found.iter().map(|leftover| (leftover.lane, leftover.bytes)).collect::<Vec<_>>(), [(2, 20)]);
        assert!(found[0].used.elapsed().unwrap() < Duration::from_mins(1));
    }
}
