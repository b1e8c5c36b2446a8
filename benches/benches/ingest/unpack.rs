//! The floor of packed batches: unpacking and parsing them in a loop, without a server.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use benches::{machine, server};
use ingest::events::{Scratch, ingest};
use ingest::request::{Endpoint, Request};
use ingest::sources::Sources;
use zlib_rs::crc32::crc32;
use zlib_rs::{Inflate, InflateFlush, Status};

use crate::batch::EVENTS;
use crate::gzip::packed;

/// What `flate2` writes in front, and what stands behind.
const HEADER_BYTES: usize = 10;
const TRAILER_BYTES: usize = 8;
/// Room for any of the bodies.
const PLAIN_BYTES: usize = 256 << 10;
const WINDOW_BITS: u8 = 15;

/// For each line with a number of seconds it works so long, and says how many batches it did a second and what processor
/// time each took, microseconds.
pub(crate) fn serve() {
    let bodies = packed(EVENTS);
    let (mut scratch, mut state, mut plain) = (Scratch::new(), Inflate::new(false, WINDOW_BITS), vec![0; PLAIN_BYTES]);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    server::serve_lines(address, |line| {
        let duration = Duration::from_secs_f64(line.parse().expect("seconds"));
        let (begun, before) = (Instant::now(), machine::threads_time(std::process::id()));
        let mut count = 0_u64;
        while begun.elapsed() < duration {
            for body in &bodies {
                one(body, &mut state, &mut plain, &mut scratch);
            }
            count += bodies.len() as u64;
        }
        let used = machine::threads_time(std::process::id()).saturating_sub(before);
        format!("{} {}", count as f64 / begun.elapsed().as_secs_f64(), used.as_secs_f64() * 1e6 / count as f64)
    });
}

fn one(body: &[u8], state: &mut Inflate, plain: &mut [u8], scratch: &mut Scratch) {
    let (packed, trailer) = body[HEADER_BYTES..].split_at(body.len() - HEADER_BYTES - TRAILER_BYTES);
    state.reset(false);
    assert_eq!(state.decompress(packed, plain, InflateFlush::Finish), Ok(Status::StreamEnd));
    let plain = &plain[..state.total_out() as usize];
    assert_eq!(trailer[..4], crc32(0, plain).to_le_bytes());
    let request = Request {
        endpoint: Endpoint::Batch,
        received_at_ms: 1_795_248_000_000,
        write_key: Some(b"bench"),
        last_write_key: None,
        client_ip: None,
    };
    let accepted = ingest(plain, &request, &Sources::Open, scratch);
    assert_eq!(accepted.map(|accepted| accepted.events), Ok(EVENTS));
}
