//! Between a body and the local buffer nothing is allocated, once a thread has seen bodies of that size.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::net::IpAddr;

use ingest::events::{Accepted, Scratch, ingest};
use ingest::request::{ClientIp, Endpoint, EventType, Request};
use ingest::sources::Sources;
use local_buffer::{Options, Queue};
use wire::limits::REQUEST_BYTES_MAX;

/// Bodies of each shape that are counted.
const BODIES: usize = 10_000;
/// Bodies of each shape before, for the buffers to grow.
const WARM_UP_BODIES: usize = 10;

/// Bytes of a thread's buffers at worst, while an unusual body is in them; the documentation of [`Scratch`] says so.
const IN_USE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The same after the next request.
const KEPT_BYTES_MAX: usize = 24 * 1024 * 1024;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    /// Bytes that this thread has allocated and not freed, and the most of them since it was last set.
    static LIVE_BYTES: Cell<usize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<usize> = const { Cell::new(0) };
}

/// Notes that a block of `old` bytes is now one of `new` bytes. Tests free only what they have allocated themselves.
fn resized(old: usize, new: usize) {
    LIVE_BYTES.set((LIVE_BYTES.get() + new).saturating_sub(old));
    PEAK_BYTES.set(PEAK_BYTES.get().max(LIVE_BYTES.get()));
}

#[expect(unsafe_code, reason = "a global allocator is unsafe by its nature; this one only counts and forwards")]
// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        resized(0, layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        resized(layout.size(), 0);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        resized(layout.size(), bytes);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn event(index: usize, members: &str) -> String {
    format!(
        r#"{{"type":"track","event":"Order Completed","userId":"user-{index}","messageId":"node-next-{index}-7f1d0a0e","timestamp":"2026-11-21T04:25:36.126Z","properties":{{"total":12.5,"text":"a \"quoted\" \u00e9","list":[1,2,{{"a":null}}]}}{members}}}"#
    )
}

fn batch(events: usize, members: &str, envelope: &str) -> String {
    let events: Vec<_> = (0..events).map(|index| event(index, members)).collect();
    format!(r#"{{"batch":[{}],"sentAt":"2026-11-21T04:25:37.000Z"{envelope}}}"#, events.join(","))
}

/// Allocations of [`BODIES`] bodies, once warm; `then` is given the records of each.
fn allocations(body: &str, endpoint: Endpoint, expected: Accepted, mut then: impl FnMut(&Scratch)) -> u64 {
    let sources = Sources::Open;
    let mut scratch = Scratch::new();
    let mut run = |index: usize| {
        let request = Request {
            endpoint,
            received_at_ms: 1_795_235_136_126 + index as i64,
            write_key: Some(b"key"),
            last_write_key: None,
            client_ip: Some(ClientIp::All(IpAddr::from([10, 0, 0, 1]))),
        };
        let accepted = ingest(black_box(body.as_bytes()), &request, &sources, &mut scratch);
        assert_eq!(accepted, Ok(expected));
        then(&scratch);
    };
    (0..WARM_UP_BODIES).for_each(&mut run);
    let before = ALLOCATIONS.get();
    (0..BODIES).for_each(&mut run);
    ALLOCATIONS.get() - before
}

#[test]
fn the_counter_counts() {
    let before = ALLOCATIONS.get();
    drop(black_box(Vec::<u8>::with_capacity(black_box(1))));
    assert_eq!(ALLOCATIONS.get() - before, 1);
}

#[test]
fn nothing_is_allocated_between_body_and_records() {
    let single = Endpoint::Single(EventType::Track);
    let taken = |events| Accepted { events, rejected: 0 };
    let context = r#","context":{"library":{"name":"go","version":"3.0.0"}},"integrations":{"All":true}"#;
    for (shape, body, endpoint, expected) in [
        ("single", event(1, ""), single, taken(1)),
        ("single on several lines", event(1, "").replace(",\"", ",\n \""), single, taken(1)),
        ("single without messageId", event(1, r#","messageId":null"#), single, taken(1)),
        ("single with an escaped messageId", event(1, r#","messageId":"\u0061b""#), single, taken(1)),
        ("single with a numeric id", event(1, r#","anonymousId":42"#), single, taken(1)),
        ("batch of 20", batch(20, "", ""), Endpoint::Batch, taken(20)),
        ("batch with common members", batch(20, r#","context":{"a":1}"#, context), Endpoint::Batch, taken(20)),
        ("batch of refused", batch(5, r#","type":"x""#, ""), Endpoint::Batch, Accepted { events: 0, rejected: 5 }),
        ("slow path, single", event(1, r#","x":NaN"#), single, taken(1)),
        ("slow path, batch", batch(5, r#","x":"\ud83d\ude00","y":NaN"#, context), Endpoint::Batch, taken(5)),
        (
            "unreadable",
            batch(5, r#","x":"\ud800","y":1e400"#, context),
            Endpoint::Batch,
            Accepted { events: 0, rejected: 5 },
        ),
        (
            "times in numbers",
            batch(5, r#","timestamp":1795235136126,"sentAt":"soon""#, context),
            Endpoint::Batch,
            taken(5),
        ),
        (
            "torn",
            batch(5, "", context).replacen("},{", r#"},{"type":"tra,{"#, 1),
            Endpoint::Batch,
            Accepted { events: 5, rejected: 1 },
        ),
    ] {
        let mut bytes = 0;
        let count = allocations(&body, endpoint, expected, |scratch| {
            bytes += scratch.records().map(<[u8]>::len).sum::<usize>();
        });
        assert_eq!(count, 0, "{shape}");
        assert!(bytes > 0, "{shape}");
    }
}

#[test]
fn nothing_is_allocated_on_the_way_into_the_local_buffer() {
    /// Appends between two waits for the disk: as many as fit into what may wait.
    const APPENDS: usize = 100;
    let dir = tempfile::tempdir().unwrap();
    let (queue, _) = Queue::open(dir.path(), Options::default()).unwrap();
    let appender = queue.appender();
    let mut appended = 0;
    let mut of_waiting = 0;
    let expected = Accepted { events: 1, rejected: 0 };
    let count = allocations(&event(1, ""), Endpoint::Single(EventType::Track), expected, |scratch| {
        let pending = appender.append_batch(scratch.records()).unwrap();
        appended += 1;
        if appended % APPENDS == 0 {
            let before = ALLOCATIONS.get();
            pending.wait(&appender).unwrap();
            of_waiting += ALLOCATIONS.get() - before;
        }
    });
    assert_eq!(count - of_waiting, 0);
    assert_eq!(appended, WARM_UP_BODIES + BODIES);
    queue.close().unwrap();
}

#[test]
fn the_buffers_have_a_bound_and_are_given_back() {
    let sources = Sources::Open;
    let request = |endpoint| Request {
        endpoint,
        received_at_ms: 0,
        write_key: Some(b"key"),
        last_write_key: None,
        client_ip: None,
    };
    let good = format!("{},", event(1, ""));
    let context = format!("{{\"context\":{{\"a\":\"{}\"}},\"batch\":[", "x".repeat(30_000));
    let mut scratch = Scratch::new();
    let (mut in_use_bytes, mut kept_bytes) = (0, 0);
    let before = LIVE_BYTES.get();
    for (start, unit, end) in [
        ("{\"batch\":[", "1,", "0]}"),
        ("{\"batch\":[", "NaN,", "0]}"),
        ("{\"batch\":[", "{},", "0]}"),
        ("{\"batch\":[", "\"\\ud800\",", "0]}"),
        ("", "[[", ""),
        ("{", "\"a\":1,", "\"batch\":[0]}"),
        ("{", "\"a\":NaN,", "\"batch\":[0]}"),
        ("{\"context\":{", "\"a\":1,", "\"a\":1},\"batch\":[0]}"),
        ("{\"batch\":[{\"messageId\":\"", "\\u0001", "\"}]}"),
        ("{\"batch\":[", &good, "0]}"),
        (&context, &good, "0]}"),
    ] {
        let units = (REQUEST_BYTES_MAX - start.len() - end.len()) / unit.len();
        let body = [start, &unit.repeat(units), end].concat();
        PEAK_BYTES.set(LIVE_BYTES.get());
        for endpoint in [Endpoint::Batch, Endpoint::Single(EventType::Track)] {
            let _ = ingest(body.as_bytes(), &request(endpoint), &sources, &mut scratch);
        }
        in_use_bytes = in_use_bytes.max(PEAK_BYTES.get() - before - body.capacity());
        drop(body);
        ingest(event(1, "").as_bytes(), &request(Endpoint::Single(EventType::Track)), &sources, &mut scratch).unwrap();
        kept_bytes = kept_bytes.max(LIVE_BYTES.get() - before);
    }
    assert!(in_use_bytes < IN_USE_BYTES_MAX, "{in_use_bytes}");
    assert!(kept_bytes < KEPT_BYTES_MAX, "{kept_bytes}");
}
