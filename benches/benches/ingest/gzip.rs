//! Packed bodies beside unpacking and parsing alone, and small ones behind a large one.

use std::io::Write as _;
use std::time::Duration;

use benches::posts::Posts;
use benches::record::{Line, Rounds};
use benches::server::ServerProcess;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::batch::{CONNECTIONS, EVENTS};
use crate::contest::{Contest, Load, ROUND, Side, TURNS};

/// Of each half of a round of a server that is started for it.
const HALF: Duration = Duration::from_millis(500);
/// Events of a body that comes close to the bound of a request.
const LARGE_EVENTS: usize = 1_100;

/// Bodies of batches, packed as SDKs do.
pub(crate) fn packed(events: usize) -> Vec<Vec<u8>> {
    let pack = |body: &Vec<u8>| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(body).expect("memory");
        encoder.finish().expect("memory")
    };
    Posts::bodies(events).iter().map(pack).collect()
}

/// `ingest_batch_gzip`, `ingest_batch_gzip_cpu`.
pub(crate) fn batches() -> Vec<Line> {
    let bodies = packed(EVENTS);
    let bytes = bodies.iter().map(Vec::len).sum::<usize>() / bodies.len();
    println!("{bytes} bytes a packed batch");
    let tapi = Side::start("tapi", CONNECTIONS, Posts::packed(&bodies, EVENTS), None);
    let Contest { mut tapi, .. } = Contest::new(tapi, Vec::new());
    let mut floor = ServerProcess::start("unpack");
    let (mut rates, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let said = floor.ask(&ROUND.as_secs_f64().to_string());
        let bare: Vec<f64> = said.split(' ').map(|number| number.parse().expect("numbers")).collect();
        let round = tapi.round(Load::Full, ROUND);
        tapi.drain();
        println!("tapi {round} | floor {:.0}/s, {:.2} us each", bare[0], bare[1]);
        rates.push((round.seen.rate() * EVENTS as f64, bare[0] * EVENTS as f64));
        costs.push((round.cpu_us / EVENTS as f64, bare[1] / EVENTS as f64));
    }
    vec![
        Rounds { name: "ingest_batch_gzip", unit: "events/s", rounds: rates }.line(),
        Rounds { name: "ingest_batch_gzip_cpu", unit: "us/event", rounds: costs }.line(),
    ]
}

/// `ingest_gzip_after_large`.
pub(crate) fn after_large() -> Vec<Line> {
    let (small, large) = (Posts::packed(&packed(1), 1), Posts::packed(&packed(LARGE_EVENTS), LARGE_EVENTS));
    let turn = |_| {
        // A server of its own, because what a large body leaves behind is there for good.
        let mut tapi = Side::start("tapi", CONNECTIONS, small.clone(), None);
        tapi.client.run(HALF);
        tapi.drain();
        let before = tapi.round(Load::Full, HALF).cpu_us;
        tapi.drain();
        benches::load::Client::with(tapi.server.address, 1, large.clone(), None).run(Duration::ZERO);
        tapi.server.ask("drain");
        let after = tapi.round(Load::Full, HALF).cpu_us;
        println!("{before:.2} us before, {after:.2} us after");
        (after, before)
    };
    let rounds = (0..TURNS).map(turn).collect();
    vec![Rounds { name: "ingest_gzip_after_large", unit: "us/request", rounds }.line()]
}
