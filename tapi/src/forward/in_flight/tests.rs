use std::fs;
use std::path::PathBuf;

use local_buffer::{Options, Queue};

use super::*;

const MAIN: Route = Route::ALL[0];
const OTHER: Route = Route::ALL[2];

fn numbered(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|number| vec![number as u8; 100]).collect()
}

/// A real buffer, and the records of it that are on their way.
pub(in crate::forward) struct Rig {
    pub(in crate::forward) in_flight: InFlight,
    queue: Queue,
    dir: tempfile::TempDir,
}

impl Rig {
    /// Whose buffer has these records; none of them is read yet.
    pub(in crate::forward) fn new(count: usize, records_max: usize) -> Self {
        Self::with(&numbered(count), Bounds { records_max, bytes_max: 1 << 20 })
    }

    /// The same of these records.
    pub(in crate::forward) fn with(records: &[Vec<u8>], bounds: Bounds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { segment_bytes: 1 << 22, ..Options::default() };
        let (mut queue, _) = Queue::open(dir.path(), options).unwrap();
        let in_flight = InFlight::new(queue.take_reader().unwrap(), bounds);
        let appender = queue.appender();
        // More at once would be refused, and so would more than a segment.
        for some in records.chunks(1000) {
            let all: Vec<_> = some.iter().map(|record| appender.append(record).unwrap()).collect();
            for appended in all {
                appended.wait(&appender).unwrap();
            }
        }
        Self { in_flight, queue, dir }
    }

    /// Reads one record, as a batch.
    fn fill_one(&mut self) {
        let InFlight { window, backlog, .. } = &mut self.in_flight;
        let mut entry = window.take_spare();
        assert!(backlog.read(entry.batch_mut(), 1));
        window.push(entry);
    }

    /// Hands everything that waits to a producer, on the track of its number.
    pub(in crate::forward) fn send(&mut self, route: Route) -> Vec<Token> {
        let mut tokens = Vec::new();
        self.in_flight.hand_over(|token, _, _| {
            tokens.push(token.on_track(tokens.len() as u16));
            Shown::Is(State::Sent { route, refused: 0 })
        });
        tokens
    }

    /// States of the records that wait.
    pub(in crate::forward) fn waiting(&mut self) -> Vec<State> {
        let mut states = Vec::new();
        self.in_flight.hand_over(|_, _, state| {
            states.push(state);
            Shown::Is(state)
        });
        states
    }

    fn floor(&mut self) -> u64 {
        self.in_flight.move_floor();
        self.queue.monitor().stats().floor
    }

    fn quarantine(&self) -> PathBuf {
        self.dir.path().join("quarantine")
    }
}

#[test]
fn no_more_is_read_than_its_bounds_allow() {
    let mut rig = Rig::new(5, 3);
    rig.in_flight.fill();
    assert_eq!((rig.in_flight.records(), rig.in_flight.bytes(), rig.in_flight.has_room()), (3, 300, false));
    for token in rig.send(MAIN) {
        rig.in_flight.acknowledged(token, MAIN);
    }
    assert_eq!(rig.floor(), 3);
    assert!(!rig.in_flight.is_drained(), "two are left in the buffer");
    rig.in_flight.fill();
    for token in rig.send(MAIN) {
        rig.in_flight.acknowledged(token, MAIN);
    }
    assert_eq!(rig.floor(), 5);
    rig.in_flight.fill();
    assert!(rig.in_flight.is_drained());
}

#[test]
fn what_came_back_with_a_fault_goes_out_again_and_holds_the_floor() {
    let mut rig = Rig::new(3, 10);
    rig.in_flight.fill();
    let tokens = rig.send(MAIN);
    rig.in_flight.failed(tokens[0], MAIN, Fault::Cluster);
    rig.in_flight.failed(tokens[1], MAIN, Fault::Record);
    rig.in_flight.acknowledged(tokens[2], MAIN);
    assert_eq!((rig.floor(), rig.in_flight.waiting()), (0, 2));
    assert_eq!(rig.waiting(), [State::Again, State::Suspect { refused: 0 }]);
}

#[test]
fn a_late_fault_says_nothing_of_a_record_that_went_elsewhere() {
    let mut rig = Rig::new(1, 10);
    rig.in_flight.fill();
    let first = rig.send(MAIN)[0];
    rig.in_flight.lost(MAIN);
    let second = rig.send(OTHER)[0];
    rig.in_flight.failed(first, MAIN, Fault::Record);
    assert_eq!(rig.in_flight.waiting(), 0, "the other producer has it");
    rig.in_flight.acknowledged(second, OTHER);
    assert_eq!(rig.floor(), 1);
}

#[test]
fn what_nobody_takes_is_done_once_it_is_kept_and_not_before() {
    let mut rig = Rig::new(2, 10);
    rig.in_flight.fill();
    let (kept, gone) = (rig.quarantine(), rig.dir.path().join("elsewhere"));
    fs::rename(&kept, &gone).unwrap();
    rig.in_flight.hand_over(|_, _, _| Shown::Aside("nobody takes it".into()));
    assert_eq!((rig.floor(), rig.in_flight.waiting(), rig.in_flight.quarantined()), (0, 2, 0));
    let said = rig.in_flight.blocked().unwrap().to_string();
    assert!(said.starts_with("a record that no cluster takes cannot be set aside: "), "{said}");
    fs::rename(&gone, &kept).unwrap();
    rig.in_flight.hand_over(|_, _, _| Shown::Aside("nobody takes it".into()));
    assert_eq!((rig.floor(), rig.in_flight.waiting(), rig.in_flight.quarantined()), (2, 0, 2));
    assert_eq!((rig.in_flight.blocked(), fs::read_dir(kept).unwrap().count()), (None, 2));
}

#[test]
fn showing_ends_where_a_record_has_to_wait() {
    let mut rig = Rig::new(3, 10);
    rig.in_flight.fill();
    let mut shown = 0;
    rig.in_flight.hand_over(|_, _, _| {
        shown += 1;
        if shown == 1 { Shown::Is(State::Sent { route: MAIN, refused: 0 }) } else { Shown::Stop }
    });
    assert_eq!((shown, rig.in_flight.waiting()), (2, 2));
}

#[test]
fn thousands_of_batches_of_one_record_pass_one_that_is_stuck() {
    const MORE: usize = 10_000;
    let bounds = Bounds { records_max: 65_536, bytes_max: 32 << 20 };
    let mut rig = Rig::with(&numbered(1 + MORE), bounds);
    rig.fill_one();
    let stuck = rig.send(MAIN)[0];
    for _ in 0..MORE {
        assert!(rig.in_flight.has_room());
        rig.fill_one();
        let [token] = rig.send(MAIN)[..] else { panic!("it was not read") };
        rig.in_flight.acknowledged(token, MAIN);
    }
    assert_eq!((rig.in_flight.records(), rig.in_flight.bytes()), (1, 100), "the others are only places now");
    assert_eq!(rig.floor(), 0);
    rig.in_flight.acknowledged(stuck, MAIN);
    assert_eq!(rig.floor(), 1 + MORE as u64);
}

#[test]
fn small_batches_have_a_bound_of_their_own() {
    let mut rig = Rig::with(&numbered(1000), Bounds { records_max: 65_536, bytes_max: 32 << 10 });
    let mut batches = 0;
    while rig.in_flight.has_room() {
        rig.fill_one();
        batches += 1;
    }
    assert!((32..100).contains(&batches), "{batches}");
}
