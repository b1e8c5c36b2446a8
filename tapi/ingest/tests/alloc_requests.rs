//! What is done for each request beside its events allocates nothing once a connection is warm: keys, paths, the client's
//! address, limits and parts cost a request no allocation that the barest one has not.
//!
//! The count is of the whole process without the client, so nothing else may run in it.
#![expect(dead_code, reason = "harness and client are those of the tests over sockets, which use more of them")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use ingest::config::{Mode, SourceConfig, Sync, Tier};

use crate::client::{AUTH, event};
use crate::harness::Harness;

#[path = "server/client.rs"]
mod client;
#[path = "server/harness.rs"]
mod harness;

/// Requests that are counted, and as many before.
const REQUESTS: u64 = 500;
/// How often they are counted.
const ROUNDS: usize = 3;
/// Texts of answers are kept in pieces of memory that hold hundreds, and now and then one more is needed.
const SPARE: u64 = REQUESTS / 25;

struct Counting;

static ALL: AtomicU64 = AtomicU64::new(0);
thread_local! {
    static OWN: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALL.fetch_add(1, Ordering::Relaxed);
    // A thread that ends has no cell any more.
    let _ = OWN.try_with(|own| own.set(own.get() + 1));
}

#[expect(unsafe_code, reason = "a global allocator is unsafe by its nature; this one only counts and forwards")]
// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, bytes) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Allocations of the server for [`REQUESTS`] requests, the least of [`ROUNDS`].
fn allocations(harness: &Harness, line: &str, headers: &str, body: &[u8]) -> u64 {
    let mut client = harness.client();
    let mut run = || {
        for _ in 0..REQUESTS {
            assert_eq!(client.request(line, headers, body).status, 200, "{line}");
        }
    };
    run();
    // Threads that have nothing to do with a request allocate in their own time: the least of a few rounds is without.
    let mut round = || {
        let before = ALL.load(Ordering::Relaxed) - OWN.get();
        run();
        ALL.load(Ordering::Relaxed) - OWN.get() - before
    };
    (0..ROUNDS).map(|_| round()).min().unwrap_or(0)
}

#[test]
fn keys_addresses_and_limits_cost_a_request_no_allocation() {
    let one_thread = |config: &mut ingest::Config| {
        config.threads = 1;
        config.buffer.sync = Sync::Never;
    };
    let plain = Harness::with(one_thread);
    let limited = Harness::with(|config| {
        one_thread(config);
        config.client_ip_header = "x-forwarded-for".into();
        config.trusted_proxies = vec!["127.0.0.0/8".into()];
        config.tiers = vec![Tier {
            id: "default".into(),
            events_per_second: 1_000_000,
            events_per_day: 1_000_000_000,
            mode: Mode::Enforce,
            ..Tier::default()
        }];
        let write_keys = vec!["KEY".into(), "NEXT".into()];
        config.sources = vec![SourceConfig { id: "web".into(), write_keys, ..SourceConfig::default() }];
    });
    let body = event("m").into_bytes();
    let keyed = event("m").replacen('{', r#"{"writeKey":"KEY","#, 1).into_bytes();
    // A login with a password, then a key that names no source.
    let logins = "Authorization: Basic YWRtaW46c2VjcmV0\r\nAuthorization: Basic V1JPTkc6\r\n";
    let forwarded = "X-Forwarded-For: 1.1.1.1, \"[2001:db8::1]:4711\", 127.0.0.2\r\n";
    for (line, headers, body) in [
        ("POST /v1/t", AUTH.to_owned(), &body),
        ("POST /v1/t?writeKey=KEY", String::new(), &body),
        ("POST /shop//v1/v1/batch/t/", format!("{AUTH}{forwarded}"), &body),
        ("POST /v1/t", format!("{logins}{forwarded}"), &keyed),
        (
            "GET /v1/pixel/track?writeKey=KEY&event=e&userId=u&properties.a=1&properties.b=2",
            forwarded.to_owned(),
            &vec![],
        ),
        ("GET /v1/projects/KEY/settings", forwarded.to_owned(), &vec![]),
    ] {
        // The HTTP library allocates a request of its own, and the names of headers that it does not know.
        let barest = allocations(&plain, "POST /v1/t?writeKey=KEY", &headers, &event("m").into_bytes());
        let count = allocations(&limited, line, &headers, body);
        assert!(count <= barest + SPARE, "{count} allocations, the barest request {barest}: {line} {headers}");
    }
}
