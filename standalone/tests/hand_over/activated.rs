//! Listeners that are there before the process, as systemd hands them in.

use std::net::TcpListener;

use crate::programs::{Place, assert_stored, sent};

/// Goal: a restart refuses nobody. Fault: there is no process for a while. Oracle: a client that connects and sends then
/// gets its 200 from the next one, and each event comes out once.
#[test]
fn a_client_that_comes_between_two_processes_waits_for_the_next_one() {
    let place = Place::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut ids = Vec::new();
    for round in 0..2 {
        let (between, after) = (format!("between-{round}"), format!("after-{round}"));
        let early = sent(address, &between);
        let program = place.activated(&listener);
        assert_eq!(program.ingest, address);
        assert_stored(early);
        assert_stored(sent(address, &after));
        program.stop();
        ids.extend([between, after]);
    }
    place.assert_each_once(&ids);
}
