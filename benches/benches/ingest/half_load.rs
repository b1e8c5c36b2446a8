//! How long a single event takes where the server has time for it: at half of the rate that it reaches.

use benches::posts::Posts;
use benches::record::Line;

use crate::contest::{Contest, Load, Side, disk_line, line};
use crate::single::CONNECTIONS;

/// `ingest_single_p99_ms`, `ingest_single_p99_disk`.
pub(crate) fn p99() -> Vec<Line> {
    let side = |role| Side::start(role, CONNECTIONS, Posts::singles(0), None);
    let mut contest = Contest::new(side("tapi"), vec![side("bare")]);
    let rate = contest.rate() / 2.0;
    println!("half load: {rate:.0} requests/s");
    let turns = contest.turns(Load::At(rate));
    let p99_ms = |seen: &benches::load::Seen| seen.percentile(0.99).as_secs_f64() * 1e3;
    vec![
        line("ingest_single_p99_ms", "ms", &turns, |turn| (p99_ms(&turn.tapi.seen), p99_ms(&turn.floors[0].seen))),
        disk_line("ingest_single_p99_disk", &turns),
    ]
}
