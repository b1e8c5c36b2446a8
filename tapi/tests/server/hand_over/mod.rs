//! One process takes over from another while clients send that never try twice.

mod activated;
mod load;
mod phases;
mod programs;

use std::time::{Duration, Instant};

use self::load::Load;
use self::programs::Place;

/// Hand-overs in a row; in the long form so many as `TESTS_HAND_OVERS` says, or all.
fn rounds() -> usize {
    let is_long = std::env::var_os("TESTS_CHAOS").is_some_and(|value| value == "1");
    let asked = std::env::var("TESTS_HAND_OVERS").ok().and_then(|count| count.parse().ok());
    if is_long { asked.unwrap_or(1000) } else { 20 }
}

/// Goal: nobody notices that the program was replaced. Fault: it is, again and again. Oracle: each request was answered
/// with 200 at its first try, and its event is in the buffer once.
#[test]
fn clients_that_never_retry_lose_nothing_through_one_hand_over_after_another() {
    let place = Place::new();
    let mut program = place.start();
    let (load, begun) = (Load::start(program.ingest), Instant::now());
    for _ in 0..rounds() {
        let next = place.take_over(&program, &[]);
        assert_eq!(program.wait(), Some(0), "the old one ends well");
        program = next;
    }
    let told = load.end();
    let per_second = told.stored.len() as f64 / begun.elapsed().as_secs_f64();
    println!("{} hand-overs, {per_second:.0} requests/s, the slowest {:?}", rounds(), told.slowest);
    assert_eq!(told.faults, [""; 0], "of {} requests", told.stored.len());
    assert!(told.reused > told.stored.len() / 3, "connections are kept");
    assert!(told.slowest < Duration::from_secs(2), "{:?}", told.slowest);
    program.stop();
    place.assert_each_once(&told.stored);
}

#[test]
fn without_a_process_to_take_over_from_it_is_a_start_like_any_other() {
    let place = Place::new();
    let program = place.take_over_from_nobody();
    assert_eq!(program.post("KEY", "a"), 200);
    // What an old one left behind is in nobody's way.
    drop(program);
    assert_eq!(place.take_over_from_nobody().post("KEY", "b"), 200);
}

#[test]
fn a_next_process_that_would_listen_elsewhere_changes_nothing() {
    let place = Place::new();
    let program = place.start();
    let (code, said) = place.refused(&program, &[("TAPI_LISTEN", "127.0.0.2:0")]);
    assert!(code == Some(2) && said.contains("without --take-over"), "{code:?} {said}");
    assert_eq!(program.post("KEY", "a"), 200);
    assert_eq!(place.take_over(&program, &[]).post("KEY", "b"), 200);
}
