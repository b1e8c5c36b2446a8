//! Single events beside a bare hyper server, as fast as they go.

use benches::posts::Posts;
use benches::record::Line;
use benches::socket::Trust;

use crate::contest::{Contest, Load, Side, disk_line, line};
use crate::secret::Secret;

/// Connections where a row says nothing else.
pub(crate) const CONNECTIONS: usize = 256;

/// `ingest_single`, `ingest_single_cpu`, `ingest_single_disk`.
pub(crate) fn many() -> Vec<Line> {
    compare(["ingest_single", "ingest_single_cpu", "ingest_single_disk"], CONNECTIONS, "", None)
}

/// `ingest_single_64`, `ingest_single_64_cpu`, `ingest_single_64_disk`.
pub(crate) fn few() -> Vec<Line> {
    compare(["ingest_single_64", "ingest_single_64_cpu", "ingest_single_64_disk"], 64, "", None)
}

/// `ingest_single_tls`, `ingest_single_tls_cpu`, `ingest_single_tls_disk`.
pub(crate) fn tls() -> Vec<Line> {
    let secret = Secret::new();
    let names = ["ingest_single_tls", "ingest_single_tls_cpu", "ingest_single_tls_disk"];
    compare(names, CONNECTIONS, &format!(" {}", secret.folder().display()), Some(&secret.trust()))
}

/// `secret` is put behind the roles.
fn compare([rate, cpu, disk]: [&'static str; 3], connections: usize, secret: &str, trust: Option<&Trust>) -> Vec<Line> {
    let side = |role: &str| Side::start(&format!("{role}{secret}"), connections, Posts::singles(0), trust);
    let turns = Contest::new(side("tapi"), vec![side("bare")]).turns(Load::Full);
    vec![
        line(rate, "requests/s", &turns, |turn| (turn.tapi.seen.rate(), turn.floors[0].seen.rate())),
        line(cpu, "us/request", &turns, |turn| (turn.tapi.cpu_us, turn.floors[0].cpu_us)),
        disk_line(disk, &turns),
    ]
}
