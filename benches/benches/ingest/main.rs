//! The front door beside the barest servers that do the unavoidable part of its work. Rows:
//!
//! - `ingest_single`, `ingest_single_cpu`: requests a second and processor time a request of the whole ingest path, HTTP to
//!   durable answer, beside a bare hyper server that reads the body and answers 200; 256 connections kept alive;
//! - `ingest_single_64`, `ingest_single_64_cpu`: the same with 64;
//! - `ingest_single_p99_ms`: the 99th percentile at half of the rate that it reaches, and the bare server's at that rate;
//! - `ingest_single_tls`, `ingest_single_tls_cpu`: over TLS that is kept alive, beside bare hyper over the same;
//! - `ingest_batch`, `ingest_batch_cpu`: batches of 100 events over 64 connections, beside hyper's body, simd-json's tape and
//!   the same bytes written in groups: events a second, and events a second of processor time;
//! - `ingest_batch_x`: bare hyper's processor time a single request over ours an event of a batch;
//! - `ingest_batch_gzip`: the same batches packed, beside unpacking and parsing them in a loop;
//! - `ingest_gzip_after_large`: processor time of a small packed request behind a large one, beside before it;
//! - `…_disk`: what the server wrote meanwhile, beside what the disk takes of the largest writes, MB/s.
//!
//! Each server runs on one core, with every thread it has; the load runs on the other. Events of 920 bytes. The drain is
//! held back while the clock runs and lets everything go between the rounds, so that, as in a server that has run for a
//! while, the buffer writes over segments it has used before. What is compared takes turns; a row's ratio is the median of
//! the rounds' ratios. Run some by name: `--bench ingest -- single batch`.

mod batch;
mod batch_floor;
mod contest;
mod gzip;
mod half_load;
mod secret;
mod servers;
mod single;
mod unpack;

use benches::record::{self, Line};
use benches::{machine, server};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LOAD_CORE: usize = 1;

/// Measures and gives its lines of the record.
type Bench = fn() -> Vec<Line>;

fn main() {
    if let Some(role) = server::role() {
        return servers::serve(&role);
    }
    machine::pin(LOAD_CORE);
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let benches: [(&str, Bench); 7] = [
        ("single", single::many),
        ("single_64", single::few),
        ("single_p99", half_load::p99),
        ("single_tls", single::tls),
        ("batch", batch::plain),
        ("batch_gzip", gzip::batches),
        ("gzip_after_large", gzip::after_large),
    ];
    let chosen =
        benches.into_iter().filter(|(name, _)| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name));
    let lines: Vec<Line> = chosen.flat_map(|(_, bench)| bench()).collect();
    record::keep_lines(&lines);
}
