//! Batches beside hyper's body, simd-json's tape and the same bytes written in groups, and beside single requests to a bare
//! server.

use benches::posts::Posts;
use benches::record::{Line, Row, median};

use crate::contest::{Contest, Load, Side, Turn, disk_line, line};
use crate::single;

/// Events of a batch.
pub(crate) const EVENTS: usize = 100;
/// Connections that send them.
pub(crate) const CONNECTIONS: usize = 64;

/// `ingest_batch`, `ingest_batch_cpu`, `ingest_batch_x`, `ingest_batch_disk`.
pub(crate) fn plain() -> Vec<Line> {
    let batches = |role| Side::start(role, CONNECTIONS, Posts::batches(EVENTS), None);
    let mut floor = batches("batch_floor");
    let mut tapi = batches("tapi");
    // What a batch takes on disk is what the floor writes for each.
    tapi.client.run(std::time::Duration::from_millis(200));
    let batch_bytes = tapi.drain() * EVENTS as u64 / tapi.client.next_number();
    floor.server.ask(&batch_bytes.to_string());
    let bare = Side::start("bare", single::CONNECTIONS, Posts::singles(0), None);
    let turns = Contest::new(tapi, vec![floor, bare]).turns(Load::Full);
    let events = |value: f64| value * EVENTS as f64;
    let x = |turn: &Turn| events(turn.floors[1].cpu_us / turn.tapi.cpu_us);
    vec![
        line("ingest_batch", "events/s", &turns, |turn| {
            (events(turn.tapi.seen.rate()), events(turn.floors[0].seen.rate()))
        }),
        line("ingest_batch_cpu", "events/cpu_s", &turns, |turn| {
            (events(1e6 / turn.tapi.cpu_us), events(1e6 / turn.floors[0].cpu_us))
        }),
        Row { name: "ingest_batch_x", value: median(turns.iter().map(x).collect()), unit: "x", floor: None }.line(),
        disk_line("ingest_batch_disk", &turns),
    ]
}
