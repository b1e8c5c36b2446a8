//! Row `rebuild_read`: digests a second of `dedup-worker rebuild` over a filled `events.index`, beside a program that just
//! reads that topic with rdkafka.
//!
//! One real broker, 8 lanes, 40 million digests over the window's 28 days. Both are whole processes, from their
//! start to their end, and take turns; the figures are medians. After the rebuilds ids are looked up in the index that
//! was made: each known one must be known, each unknown one must not.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ::kafka::{Cluster, Probe};
use benches::changelog::{self, Changelog, SOURCE};
use benches::kafka::{self, Broker};
use benches::record::{self, Row, median};
use benches::{program, server};
use dedup::{Index, Options};
use dedup_worker::worker::spec::index_dir;
use rdkafka::error::KafkaError;
use wire::topic::EVENTS_INDEX;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u32 = 8;
const DIGESTS: u64 = 40_000_000;
const ROUNDS: usize = 3;
/// Readers of the floor, one a core as the rebuild has them.
const FLOOR_THREADS: u32 = 2;
/// Every so many ids one is looked up.
const LOOKUPS_PERIOD: usize = 199;
const STALL: Duration = Duration::from_secs(30);

fn main() {
    if let Some(role) = server::role() {
        let address = role.strip_prefix("floor ").unwrap_or_else(|| panic!("no role {role}"));
        println!("{}", floor(address));
        return;
    }
    let broker = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    let changelog = Changelog::fill(&broker, PARTITIONS, DIGESTS);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    // Java compiles what is used often while it runs; nobody is to pay for that.
    server::ask_once(&format!("floor {}", broker.address));
    let (mut rebuilds, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        let bytes = server::ask_once(&format!("floor {}", broker.address))[0];
        floors.push(DIGESTS as f64 / begun.elapsed().as_secs_f64());
        assert!(bytes >= (DIGESTS * 16) as f64, "the floor has read everything");
        let begun = Instant::now();
        let said = ask(&broker, folder.path(), &["rebuild"]);
        rebuilds.push(DIGESTS as f64 / begun.elapsed().as_secs_f64());
        assert!(said.contains(&format!("{DIGESTS} identities")), "{said}");
    }
    check(&broker, &changelog, folder.path());
    let (value, floor) = (median(rebuilds), Some(median(floors)));
    record::keep(&[Row { name: "rebuild_read", value, unit: "digests/s", floor }]);
}

/// A command of `dedup-worker`, run to its end; what it printed.
fn ask(broker: &Broker, data: &Path, arguments: &[&str]) -> String {
    let mut command: Command = program::command("dedup-worker");
    command
        .args(arguments)
        .env("DEDUP_DATA", data)
        .env("DEDUP_KAFKA_PRIMARY", &broker.address)
        .env("DEDUP_KAFKA_SECONDARY", "");
    let output = command.output().expect("dedup-worker starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The index that was made knows what it must and nothing else.
fn check(broker: &Broker, changelog: &Changelog, data: &Path) {
    let cluster = Cluster::new("test", "output", &broker.address, service::Properties::default());
    let probe = Probe::new(&cluster, STALL).expect("a client");
    let facts = probe.topic(EVENTS_INDEX).expect("the topic");
    let open = |partition| {
        let (dir, id) = (index_dir(data, partition), ownership::log_id(&facts, partition));
        Index::open(&dir, &changelog.genesis, id, &Options::default()).expect("the index opens")
    };
    let begun = Instant::now();
    let indexes: Vec<Index> = (0..PARTITIONS).map(open).collect();
    println!("opening what was rebuilt: {:.0} ns an identity", begun.elapsed().as_secs_f64() * 1e9 / DIGESTS as f64);
    let is_known = |number| {
        let id = changelog::message_id(number);
        let index = &indexes[changelog::lane(&id, PARTITIONS) as usize];
        index.lookup(changelog::digest(&id)).expect("the index can be read").is_some()
    };
    for number in (0..DIGESTS).step_by(LOOKUPS_PERIOD) {
        assert!(is_known(number), "{number} is not known");
        assert!(!is_known(DIGESTS + number), "{} is known", DIGESTS + number);
    }
    let said = ask(broker, data, &["lookup", SOURCE, &changelog::message_id(7)]);
    assert!(said.starts_with("known"), "{said}");
}

/// Reads the changelog; how many bytes its values had.
fn floor(address: &str) -> u64 {
    thread::scope(|scope| {
        let shares: Vec<_> = (0..FLOOR_THREADS)
            .map(|thread| {
                let partitions = (0..PARTITIONS).filter(move |partition| partition % FLOOR_THREADS == thread);
                scope.spawn(move || read(address, partitions))
            })
            .collect();
        shares.into_iter().map(|share| share.join().expect("no panic")).sum()
    })
}

fn read(address: &str, partitions: impl Iterator<Item = u32> + Clone) -> u64 {
    let share = partitions.clone().count();
    let consumer = kafka::reader(address, EVENTS_INDEX, partitions, true);
    let (mut bytes, mut ends) = (0, 0);
    while ends < share {
        match consumer.poll(STALL).expect("a record or the end") {
            Ok(record) => bytes += record.payload_len() as u64,
            Err(KafkaError::PartitionEOF(_)) => ends += 1,
            Err(error) => panic!("{error}"),
        }
    }
    bytes
}
