//! Every state that a power cut can leave of a small life of a buffer, none of them left out.
//!
//! Goal: whatever of it is on the disk, the buffer opens and keeps what it had promised at that instant.
//! Fault: the power goes in the middle of every call that changes the disk; of what was not synced every sector may be
//! there or not by itself, every change of a name too, and the write under way may end at any byte.
//! Oracle: [`Promise`], as the buffer had said it at that very call.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex};

use crate::driven::small_bounds;
use crate::format::BLOCK_BYTES;
use crate::options::{Bounds, SyncPolicy};
use crate::proof::oracle::Promise;
use crate::proof::scene::{Engine, Scene};
use crate::proof::{chaos, count};
use crate::sim::lock;
use crate::sim::{Odometer, SECTOR_BYTES, SimDisk, State};
use crate::{AppendError, FullCause};

/// More states than this at one call, and the scenario is not small.
const STATES_MAX: u64 = 200_000;
/// In the short form a second cut follows a first one in one call of so many.
const FIRST_EVERY: usize = 4;
/// In the short form a write is torn at one byte in so many, all sectors beside.
const TEAR_EVERY: usize = 97;

/// The instant of one call that changes the disk.
pub(super) struct Instant {
    pub(super) state: State,
    promise: Promise,
}

/// Records the instants of what a scene does.
fn record(scene: &Scene) -> Arc<Mutex<Vec<Instant>>> {
    let instants = Arc::<Mutex<Vec<Instant>>>::default();
    let (log, list) = (Arc::clone(&scene.log), Arc::clone(&instants));
    scene.disk.record(Some(Box::new(move |state, _| {
        let promise = lock(&log).now().clone();
        lock(&list).push(Instant { state, promise });
    })));
    instants
}

pub(super) fn record_of(bytes: usize, fill: u8) -> Arc<[u8]> {
    // Zeros change next to nothing on a blank disk, so that a large record puts few sectors in doubt.
    (0..bytes).map(|at| if fill == 0 { 0 } else { fill.wrapping_add(at as u8 | 1) }).collect()
}

/// A small life: every thing that a buffer does happens in it once at least. Every step may fail if a fault comes.
pub(super) fn small_life(scene: &mut Scene, open: impl Fn(&mut Scene)) {
    let append = |scene: &mut Scene, sizes: &[usize], fill| {
        let records: Vec<_> = sizes.iter().map(|bytes| record_of(*bytes, fill)).collect();
        if scene.append(&records) == Err(AppendError::Busy) {
            scene.make_spare();
            let _ = scene.append(&records);
        }
        scene.write_group();
    };
    // One group, a group of two blocks of which a record spans both, an acknowledgement.
    open(scene);
    scene.make_spare();
    append(scene, &[700], 10);
    append(scene, &[10, 3900, 300], 20);
    scene.read(2, 1 << 20);
    scene.acknowledge(50);
    scene.sync_floor();
    // Two groups under way when the first is written; then a roll into the second segment.
    let _ = scene.append(&[record_of(100, 30)]);
    append(scene, &[90], 40);
    scene.write_all();
    append(scene, &[60], 50);
    append(scene, &[BLOCK_BYTES], 0);
    // The first segment is done, freed, and written again with a new generation over its old blocks.
    scene.read(1000, 1 << 20);
    scene.acknowledge(70);
    scene.sync_floor();
    append(scene, &[500], 70);
    append(scene, &[BLOCK_BYTES + 3000], 0);
    append(scene, &[40], 90);
    scene.close();
    // What is left comes again, some of it is set aside, all of it done.
    open(scene);
    scene.read(2, 1 << 20);
    scene.quarantine();
    append(scene, &[20], 100);
    scene.kill();
    open(scene);
    scene.make_spare();
    scene.read(1000, 1 << 20);
    scene.acknowledge(100);
    append(scene, &[30, 30], 110);
    scene.sync_floor();
    scene.close();
    // Other segments from now on: the old ones are removed.
    scene.bounds = small_bounds(8, 4);
    open(scene);
    append(scene, &[25], 120);
    scene.read(1000, 1 << 20);
    scene.acknowledge(60);
    scene.sync_floor();
    scene.close();
}

fn bounds() -> Bounds {
    small_bounds(6, 4)
}

/// All that must hold on a disk that came back: it opens, and everything promised comes, before and after it has gone
/// on and the power was cut again.
pub(super) fn holds(disk: SimDisk, bounds: Bounds, promise: Promise) {
    let mut scene = Scene::with(disk, bounds, promise);
    scene.check_quarantine();
    scene.open().expect("it opens");
    scene.read_all();
    scene.make_spare();
    let went_on = scene.append(&[record_of(77, 7)]);
    assert!(matches!(went_on, Ok(()) | Err(AppendError::Full { cause: FullCause::Bound })), "{went_on:?}");
    scene.read_all();
    // The power goes again: now nothing may depend on what was in doubt.
    scene.cut(0);
    scene.open().expect("it opens again");
    scene.read_all();
    scene.acknowledge(100);
    assert!(scene.sync_floor());
    scene.cut(0);
    scene.open().expect("it opens a third time");
    assert_eq!(scene.read(1000, 1 << 20), Some(0), "what was done comes again");
    scene.check_quarantine();
    scene.make_spare();
    scene.append(&[record_of(78, 8)]).expect("there is room again");
    scene.read_all();
}

/// Visits every disk that a cut at this instant may leave; gives their number.
pub(super) fn every_state(instant: &Instant, mut visit: impl FnMut(State, &Promise)) -> u64 {
    let mut odometer = Odometer::default();
    let mut states = 0;
    loop {
        visit(instant.state.after_cut(&mut |sides| odometer.choose(sides)), &instant.promise);
        states += 1;
        assert!(states <= STATES_MAX, "the scenario is too large to be complete");
        if !odometer.advance() {
            return states;
        }
    }
}

/// The write under way at this instant, torn at bytes that are no border of a sector, from the front and from the back.
fn every_tear(instant: &Instant, every: usize, mut visit: impl FnMut(State, &Promise)) -> u64 {
    let mut states = 0;
    for byte in (1..).step_by(every).filter(|byte| byte % SECTOR_BYTES != 0) {
        for head in [true, false] {
            let Some(torn) = instant.state.torn_at(byte, head) else { return states };
            visit(torn, &instant.promise);
            states += 1;
        }
    }
    states
}

/// Runs a check, and says where it failed.
pub(super) fn at_place<T>(place: impl Fn() -> String, check: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(check)).unwrap_or_else(|panic| {
        eprintln!("{}", place());
        resume_unwind(panic)
    })
}

/// The ways in which a buffer writes: past the page cache or not, and each append by itself.
const WAYS: [(&str, bool, SyncPolicy); 3] = [
    ("direct", true, SyncPolicy::Group),
    ("page cache", false, SyncPolicy::Group),
    ("direct, every append", true, SyncPolicy::EveryAppend),
];

fn small_life_recorded(direct: bool, sync: SyncPolicy) -> Vec<Instant> {
    let mut scene = Scene::new(SimDisk::new(direct), Bounds { sync, ..bounds() }, Engine::Steps);
    let instants = record(&scene);
    small_life(&mut scene, |scene| drop(scene.open().expect("it opens")));
    scene.disk.record(None);
    let list = std::mem::take(&mut *lock(&instants));
    assert_eq!(list.last().map(|last| last.promise.existing()), Some(15), "the life was too short");
    list
}

#[test]
fn every_state_that_a_power_cut_can_leave_of_a_small_life_keeps_its_promises() {
    for (way, direct, sync) in WAYS {
        let instants = small_life_recorded(direct, sync);
        let every = if chaos() { 1 } else { TEAR_EVERY };
        let (mut states, mut tears) = (0, 0);
        for (number, instant) in instants.iter().enumerate() {
            let mut state = 0;
            let mut check = |left: State, promise: &Promise| {
                let place = || format!("{way}, cut in call {number}, state {state}");
                at_place(place, || holds(SimDisk::of(left, direct), bounds(), promise.clone()));
                state += 1;
            };
            states += every_state(instant, &mut check);
            tears += every_tear(instant, every, &mut check);
        }
        let every = if every == 1 { "every byte".to_string() } else { format!("one byte in {every}") };
        let calls = instants.len();
        count(&format!(
            "{way}: all {states} states of cuts in {calls} calls, and {tears} of writes torn at {every}: \
             0 lost, 0 invented, 0 reordered"
        ));
    }
}

#[test]
fn every_state_that_a_cut_can_leave_of_the_recovery_from_a_cut_or_kill_keeps_the_same_promises() {
    for (way, direct, sync) in WAYS {
        let (mut firsts, mut states) = (0, 0);
        let every = if chaos() { 1 } else { FIRST_EVERY };
        for (number, instant) in small_life_recorded(direct, sync).iter().enumerate().step_by(every) {
            let firsts_left = [
                ("cut, nothing left", instant.state.after_cut(&mut |_| 0)),
                ("cut, everything left", instant.state.after_cut(&mut |sides| sides - 1)),
                // What the kernel has stays, and is as much in doubt as before.
                ("killed", instant.state.after_kill()),
            ];
            for (first, left) in firsts_left {
                let mut scene = Scene::with(SimDisk::of(left, direct), bounds(), instant.promise.clone());
                let seconds = record(&scene);
                scene.open().expect("it opens");
                scene.read(3, 1 << 20);
                scene.disk.record(None);
                firsts += 1;
                for (call, second) in lock(&seconds).iter().enumerate() {
                    let place = || format!("{way}, {first} in call {number}, then cut in call {call}");
                    states += every_state(second, |left, promise| {
                        at_place(place, || holds(SimDisk::of(left, direct), bounds(), promise.clone()));
                    });
                }
            }
        }
        count(&format!("{way}: all {states} states of cuts in the recovery from {firsts} cuts and kills"));
    }
}
