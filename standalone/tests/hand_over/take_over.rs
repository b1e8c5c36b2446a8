//! One process takes over from another while a client sends that never tries twice.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::programs::{Place, assert_stored, sent};

/// Hand-overs in a row.
const ROUNDS: usize = 5;

/// Goal: nobody notices that the program was replaced. Fault: it is, again and again, and a next one dies with the data in
/// its hands. Oracle: each request was answered with 200 at its first try, and its event comes out once.
#[test]
fn clients_that_never_retry_lose_nothing_and_each_event_comes_out_once() {
    let place = Place::new();
    let mut program = place.start(&[]);
    let address = program.ingest;
    let stop = AtomicBool::new(false);
    let ids = thread::scope(|scope| {
        let client = |name: usize| {
            let stop = &stop;
            scope.spawn(move || {
                let ids = (0..).map(|index| format!("{name}-{index}"));
                let ids = ids.take_while(|_| !stop.load(Ordering::Relaxed));
                ids.inspect(|id| assert_stored(sent(address, id))).collect::<Vec<_>>()
            })
        };
        let clients: Vec<_> = (0..3).map(client).collect();
        for _ in 0..ROUNDS {
            let next = place.start(&["--take-over"]);
            assert_eq!(next.ingest, address, "the same listeners");
            assert_eq!(program.wait(), Some(0), "the old one ends well");
            program = next;
        }
        assert_eq!(place.dies("opened:1"), None, "it was killed");
        assert_stored(sent(address, "again"));
        let last = place.start(&["--take-over"]);
        assert_eq!(program.wait(), Some(0));
        program = last;
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    program.stop();
    let ids = [ids, vec!["again".to_owned()]].concat();
    assert!(ids.len() > ROUNDS, "{ids:?}");
    place.assert_each_once(&ids);
}

#[test]
fn without_a_process_to_take_over_from_it_is_a_start_like_any_other() {
    let place = Place::new();
    let program = place.start(&["--take-over"]);
    assert_stored(sent(program.ingest, "a"));
    program.stop();
    place.assert_each_once(&["a".to_owned()]);
}
