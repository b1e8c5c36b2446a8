//! A fault at every call of a small life of a buffer.
//!
//! Goal: whatever fails, and however much of it was done all the same, the buffer keeps what it had promised: it goes on
//! or refuses, and opens again at the second attempt at the latest.
//! Faults: `EIO` and `ENOSPC` from each single call, none, half or all of the write or sync done; then nothing more, or a
//! process kill, or a power cut in one of the calls that follow. Oracle: [`Promise`](super::oracle::Promise).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::driven::small_bounds;
use crate::proof::crash_states::{at_place, holds, small_life};
use crate::proof::oracle::Promise;
use crate::proof::scene::{Engine, Scene};
use crate::proof::{chaos, count};
use crate::sim::lock;
use crate::sim::{EIO, ENOSPC, Fault, SimDisk, State};

/// The power is cut in each of so many changing calls after the fault.
const CUTS_AFTER: usize = 8;

/// Lives the small life with one fault. Gives the kind of call that failed, and the number of disks that were checked.
fn life_with_fault(direct: bool, call: u64, fault: Fault) -> (Option<&'static str>, u64) {
    let disk = SimDisk::new(direct);
    disk.fail_after(call, fault);
    let mut scene = Scene::new(disk, small_bounds(6, 4), Engine::Steps);
    let after = Arc::<Mutex<Vec<(State, Promise)>>>::default();
    let (log, list) = (Arc::clone(&scene.log), Arc::clone(&after));
    scene.disk.record(Some(Box::new(move |state, failed| {
        let mut list = lock(&list);
        if failed.is_some() && list.len() < CUTS_AFTER {
            list.push((state, lock(&log).now().clone()));
        }
    })));
    small_life(&mut scene, |scene| {
        if scene.open().is_err() {
            assert!(scene.disk.failed().is_some(), "it did not open, and nothing had failed");
            scene.open().expect("it opens again after a fault");
        }
    });
    let (failed, bounds) = (scene.disk.failed(), scene.bounds);
    if failed.is_none() {
        return (None, 0);
    }
    let mut promise = lock(&scene.log).now().clone();
    let mut checked = 2;
    holds(scene.disk.kill(), bounds, promise.clone());
    holds(scene.disk.reboot(call), bounds, promise.clone());
    for (state, before) in lock(&after).iter() {
        promise.clone_from(before);
        promise.floor_lost |= failed == Some("read");
        let nothing: fn(usize) -> usize = |_| 0;
        for mut choose in [nothing, |sides| sides - 1] {
            holds(SimDisk::of(state.after_cut(&mut choose), direct), bounds, promise.clone());
            checked += 1;
        }
    }
    (failed, checked)
}

#[test]
fn a_fault_at_any_call_of_a_small_life_breaks_no_promise() {
    let whole: &[Fault] = &[
        Fault { code: EIO, reached: 0 },
        Fault { code: ENOSPC, reached: 128 },
        Fault { code: EIO, reached: 255 },
        Fault { code: EIO, reached: 128 },
        Fault { code: ENOSPC, reached: 0 },
        Fault { code: ENOSPC, reached: 255 },
    ];
    let faults = if chaos() { whole } else { &whole[..3] };
    let (mut runs, mut checked) = (BTreeMap::<&str, u64>::new(), 0);
    for direct in [true, false] {
        for fault in faults {
            for call in 0.. {
                let place = || format!("direct {direct}, {fault:?}, call {call}");
                let (failed, disks) = at_place(place, || life_with_fault(direct, call, *fault));
                let Some(kind) = failed else { break };
                *runs.entry(kind).or_default() += 1;
                checked += disks;
            }
        }
    }
    assert!(
        ["read", "write", "sync", "open", "rename", "remove", "sync_dir", "list"].iter().all(|kind| runs[kind] > 0)
    );
    let all: u64 = runs.values().sum();
    count(&format!("{all} lives with a fault at each of their calls ({runs:?}), {checked} disks after it: 0 lost"));
}
