//! A process that dies or stands still in the middle of a hand-over, at each step: somebody serves, with what was
//! acknowledged.

use std::time::Duration;

use rustix::process::Signal;

use super::load::Load;
use super::programs::Place;
use crate::binary::Program;

/// Goal: a next process that fails costs nothing. Fault: it is killed at each of its steps. Oracle: the old process goes
/// on, and no client noticed.
#[test]
fn a_next_process_that_dies_at_any_step_leaves_the_old_one_as_it_was() {
    let place = Place::new();
    let program = place.start();
    let load = Load::start(program.ingest);
    for step in ["prepared", "released", "opened", "begun"] {
        let (code, said) = place.refused(&program, &[("TAPI_CRASH_AT", &format!("{step}:1"))]);
        assert_eq!(code, None, "{step}: {said}");
        assert_eq!(program.post("KEY", step), 200, "{step}");
    }
    let last = place.take_over(&program, &[]);
    let told = load.end();
    assert_eq!(told.faults, [""; 0], "of {} requests", told.stored.len());
    assert!(told.slowest < Duration::from_secs(3), "{:?}", told.slowest);
    last.stop();
    place.assert_each_once(&told.stored);
}

/// Fault: it stands still with the data in its hands, or just before it has it. Oracle: as above; with the data it is
/// killed, because everybody waits for it.
#[test]
fn a_next_process_that_stands_still_does_not_hold_anybody_up() {
    let place = Place::new();
    let program = place.start();
    let load = Load::start(program.ingest);
    let (code, _) = place.refused(&program, &[("TAPI_CRASH_AT", "pause-opened:1")]);
    assert_eq!(code, None, "killed");
    assert_eq!(program.post("KEY", "after"), 200);
    let mut before = place.stand_still(&program, "pause-released:1");
    assert_eq!(program.post("KEY", "meanwhile"), 200);
    // Too late: the old one has its data again.
    before.go_on();
    assert_eq!(before.fails(), Some(1));
    let told = load.end();
    assert_eq!(told.faults, [""; 0], "of {} requests", told.stored.len());
    program.stop();
    place.assert_each_once(&told.stored);
}

/// Fault: the old process dies while it hands over. Oracle: the next one serves on the same port, with all that was
/// acknowledged. Requests that the old one had are cut off, as by any kill.
#[test]
fn an_old_process_that_dies_at_any_step_is_succeeded_all_the_same() {
    for step in ["wanted", "freed", "given"] {
        let place = Place::new();
        let mut program = Program::spawn(&place.config(), &place.data, &[], &[("TAPI_CRASH_AT", &format!("{step}:1"))]);
        assert_eq!(program.post("KEY", "before"), 200);
        let next = place.take_over(&program, &[]);
        assert_eq!(program.wait(), None, "{step}: killed");
        assert_eq!(next.post("KEY", "after"), 200, "{step}");
        next.stop();
        place.assert_each_once(&["before".to_owned(), "after".to_owned()]);
    }
}

/// Fault: the old process is told to stop while the next one prepares. Oracle: the next one serves.
#[test]
fn an_old_process_that_stops_by_itself_is_succeeded_too() {
    let place = Place::new();
    let mut program = place.start();
    let mut next = place.stand_still(&program, "pause-prepared:1");
    program.signal(Signal::TERM);
    assert_eq!(program.wait(), Some(0));
    next.go_on();
    let next = next.ready();
    assert_eq!(next.ingest, program.ingest);
    assert_eq!(next.post("KEY", "after"), 200);
}
