//! From a body to buffer records, beside simd-json's tape over the same bytes, which is what a parser that builds values
//! needs at least, and beside its first stage, which is what this one needs. Single events of 920 bytes, and batches of 100
//! of them.

use std::hint::black_box;

use benches::event;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ingest::events::{Scratch, ingest};
use ingest::request::{Endpoint, EventType, Request};
use ingest::sources::Sources;
use simd_json::{Buffers, Tape};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH_EVENTS: usize = 100;

fn batch() -> Vec<u8> {
    let numbered = |number| {
        let mut event = event::event();
        let offset = event::number_offset(&event);
        event::set_number(&mut event[offset..offset + event::NUMBER_DIGITS], number);
        event
    };
    event::batch(&(0..BATCH_EVENTS as u64).map(numbered).collect::<Vec<_>>())
}

fn parse(criterion: &mut Criterion) {
    let request = Request {
        endpoint: Endpoint::Single(EventType::Track),
        received_at_ms: 1_795_248_000_000,
        write_key: Some(b"bench"),
        last_write_key: None,
        client_ip: None,
    };
    for (name, body, endpoint, events) in
        [("single", event::event(), request.endpoint, 1), ("batch_100", batch(), Endpoint::Batch, BATCH_EVENTS)]
    {
        let request = Request { endpoint, ..request };
        let mut group = criterion.benchmark_group("parse");
        group.throughput(Throughput::Elements(events as u64));
        group.bench_function(BenchmarkId::new("records", name), |bencher| {
            let mut scratch = Scratch::new();
            bencher.iter(|| {
                let accepted = ingest(black_box(&body), &request, &Sources::Open, &mut scratch);
                assert_eq!(accepted.map(|accepted| accepted.events), Ok(events));
            });
        });
        group.bench_function(BenchmarkId::new("floor_tape", name), |bencher| {
            let (mut buffers, mut copy) = (Buffers::new(body.len()), Vec::with_capacity(body.len()));
            let mut tape = Tape(Vec::new());
            bencher.iter(|| {
                copy.clear();
                copy.extend_from_slice(black_box(&body));
                // The tape borrows the copy, so it is emptied and given back each time.
                let mut filled = std::mem::replace(&mut tape, Tape(Vec::new())).reset();
                simd_json::fill_tape(&mut copy, &mut buffers, &mut filled).expect("JSON");
                assert!(filled.0.len() > events);
                tape = filled.reset();
            });
        });
        group.bench_function(BenchmarkId::new("floor_marks", name), |bencher| {
            // With the depth 0 the second stage ends at the first bracket.
            let (mut buffers, mut copy) = (Buffers::with_max_depth(body.len(), 0), Vec::with_capacity(body.len()));
            let mut tape = Tape(Vec::new());
            bencher.iter(|| {
                copy.clear();
                copy.extend_from_slice(black_box(&body));
                let mut filled = std::mem::replace(&mut tape, Tape(Vec::new())).reset();
                simd_json::fill_tape(&mut copy, &mut buffers, &mut filled).expect_err("no depth is allowed");
                assert!(buffers.structural_indexes().len() > events);
                tape = filled.reset();
            });
        });
        group.finish();
    }
}

criterion_group!(benches, parse);
criterion_main!(benches);
