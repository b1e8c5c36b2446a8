//! Goal: a small request cannot make the server take much memory.
//! Fault: 1 GB of zeros in under 1 MiB of gzip, sent again and again, several at once.
//! Oracle: 400 each time, and the server's memory peak as the kernel saw it.

use std::io::Write as _;
use std::thread;

use flate2::Compression;
use flate2::write::GzEncoder;
use tests::{Scene, Turnstile, http};

const BOMB_BYTES: usize = 1_000_000_000;
const BOMBS: usize = 32;
const AT_ONCE: usize = 8;
/// The request bound is 1 MiB each before and after inflating; this is ample for eight of both and far below one bomb.
const GROWTH_MAX: u64 = 64 << 20;

#[test]
fn a_gigabyte_of_zeros_is_refused_in_little_memory() {
    let scene = Scene::begin();
    let bomb = bomb();
    assert!(bomb.len() < wire::limits::REQUEST_BYTES_MAX, "the bomb must pass the first bound: {}", bomb.len());
    let mut server = Turnstile::new(&scene);
    server.start();
    // A first one warms up what every connection needs.
    refused(&server, &bomb);
    let before = server.memory_bytes("VmHWM");
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| (0..BOMBS / AT_ONCE).for_each(|_| refused(&server, &bomb)));
        }
    });
    let grown = server.memory_bytes("VmHWM") - before;
    assert!(grown < GROWTH_MAX, "{BOMBS} bombs took {} MiB", grown >> 20);
    scene.say(format_args!("{BOMBS} bombs of {} bytes refused, memory peak grew by {} KiB", bomb.len(), grown >> 10));
}

fn refused(server: &Turnstile, bomb: &[u8]) {
    let headers = format!("{}content-encoding: gzip\r\n", http::BASIC_AUTH);
    let answer = http::post(server.ingest, "/v1/batch", &headers, bomb).expect("an answer");
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(answer.json()["success"], false);
}

fn bomb() -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    let mut left = BOMB_BYTES;
    while left > 0 {
        let bytes = left.min(zeros.len());
        gzip.write_all(&zeros[..bytes]).expect("memory");
        left -= bytes;
    }
    gzip.finish().expect("memory")
}
