//! Rows `takeover_10m_s` and `takeover_10m_old_index_s`: seconds from the moment in which the group gives a worker the
//! lane of one that was killed with -9 to the first event that the new owner commits there.
//!
//! One real broker, two lanes with 10 million identities each, over the window's 28 days; two workers with a lane each.
//! Each topic has as many partitions. In the first case the new owner has never had the lane, as a worker on another
//! host: it replays the whole changelog. In the second it has an index of its own from an earlier time. Events are
//! waiting in the lane; a repeat among them must not come out. Both have to stay below five seconds.

use std::fmt::Write as _;

use std::time::{Duration, Instant};

use benches::changelog::{self, Changelog, SOURCE};
use benches::kafka::{self, Broker, Sender};
use benches::program::{self, Program, wait_until};
use benches::record::{self, Row, now_ms};
use benches::traffic::Event;
use rdkafka::Message as _;
use tempfile::TempDir;
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_REJECTED};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PARTITIONS: u32 = 2;
const DIGESTS: u64 = 20_000_000;
const LIMIT: Duration = Duration::from_mins(2);
/// The bar.
const TAKEOVER_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);
/// What a worker says when the group gives it partitions.
const GIVEN: &str = "the group gives this worker partitions";
const RUNNING: &str = "dedup_lanes_running";

fn main() {
    let broker = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    broker.make_anew(&[EVENTS, EVENTS_DEDUPED, EVENTS_REJECTED], PARTITIONS);
    Changelog::fill(&broker, PARTITIONS, DIGESTS);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let producer = broker.client().create().expect("a producer");
    let mut scene = Scene { producer, broker, folder, number: DIGESTS };

    let first = scene.start("first", "first.log");
    wait_until("the first worker has both partitions", LIMIT, || first.metric(RUNNING) == u64::from(PARTITIONS));
    let second = scene.start("second", "second.log");
    wait_until("they share", LIMIT, || second.metric(RUNNING) == 1 && first.metric(RUNNING) == 1);
    let without_index = scene.takeover(first, &second, 1 - given(&second)[0]);

    let first = scene.start("first", "first-again.log");
    wait_until("they share again", LIMIT, || second.metric(RUNNING) == 1 && first.metric(RUNNING) == 1);
    let partition = given(&first)[0];
    let with_old_index = scene.takeover(first, &second, partition);

    for taken in [without_index, with_old_index] {
        assert!(taken < TAKEOVER_MAX, "taking over lasted {taken:?}\n{}", second.log());
    }
    let row = |name, taken: Duration| Row { name, value: taken.as_secs_f64(), unit: "s", floor: None };
    record::keep(&[row("takeover_10m_s", without_index), row("takeover_10m_old_index_s", with_old_index)]);
}

struct Scene {
    broker: Broker,
    producer: Sender,
    folder: TempDir,
    /// Of the next new event.
    number: u64,
}

impl Scene {
    /// Starts a worker whose index is in the folder called `data`.
    fn start(&self, data: &str, log: &str) -> Program {
        let mut command = program::command("dedup-worker");
        command
            .arg("run")
            .env("DEDUP_ADMIN_LISTEN", "127.0.0.1:0")
            .env("DEDUP_DATA", self.folder.path().join(data))
            .env("DEDUP_KAFKA_PRIMARY", &self.broker.address)
            .env("DEDUP_KAFKA_SECONDARY", "")
            .env("DEDUP_KAFKA_SESSION_TIMEOUT_MS", "6000")
            .env("DEDUP_LOG_FORMAT", "text");
        Program::start(command, &self.folder.path().join(log))
    }

    /// Kills the owner of `partition` while events come in there, and gives the time from the assignment of its heir to
    /// the heir's first committed event.
    fn takeover(&mut self, owner: Program, heir: &Program, partition: u32) -> Duration {
        // So that the changelog goes on behind whatever index the heir may have.
        let before = self.produce_new(partition);
        self.wait_for(partition, &before);
        let given_before = given(heir).len();
        owner.kill();
        let repeat = (0..u64::MAX).map(changelog::message_id).find(|id| changelog::lane(id, PARTITIONS) == partition);
        let repeat = repeat.expect("an id of that partition");
        self.produce(&repeat, partition);
        let event = self.produce_new(partition);
        wait_until("the group has noticed", LIMIT, || given(heir).len() > given_before);
        let noticed = Instant::now();
        assert_eq!(given(heir).last(), Some(&partition), "the heir gets what the other one had");
        let seen = self.wait_for(partition, &event);
        let taken = noticed.elapsed();
        assert!(!seen.contains(&repeat), "{repeat} had been published before");
        println!("partition {partition}: {taken:.2?} from the assignment to the first committed event");
        taken
    }

    /// Produces an event that nobody knows yet; its id.
    fn produce_new(&mut self, partition: u32) -> String {
        loop {
            self.number += 1;
            let id = changelog::message_id(self.number);
            if changelog::lane(&id, PARTITIONS) == partition {
                self.produce(&id, partition);
                return id;
            }
        }
    }

    fn produce(&self, id: &str, partition: u32) {
        let mut value = String::new();
        write!(value, r#"{{"messageId":"{id}","type":"track","event":"Order Completed"}}"#).expect("memory");
        let event = Event { key: id.into(), source: SOURCE, received_at_ms: now_ms(), value: value.into_bytes() };
        kafka::send(&self.producer, kafka::record_of(EVENTS, partition, &event));
        kafka::settle(&self.producer);
    }

    /// Reads the output of a partition until the event is in it; the ids that were.
    fn wait_for(&self, partition: u32, id: &str) -> Vec<String> {
        let consumer = kafka::reader(&self.broker.address, EVENTS_DEDUPED, partition..=partition, true);
        let (mut seen, begun) = (Vec::new(), Instant::now());
        while seen.last().is_none_or(|last| last != id) {
            assert!(begun.elapsed() < LIMIT, "{id} does not come out");
            if let Some(Ok(record)) = consumer.poll(POLL) {
                seen.push(String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned());
            }
        }
        seen
    }
}

/// The partitions that the group has given to a worker so far, in the order in which it did.
fn given(worker: &Program) -> Vec<u32> {
    let log = worker.log();
    let lists = log
        .lines()
        .filter(|line| line.contains(GIVEN))
        .filter_map(|line| line.rsplit_once("partitions=[")?.1.split(']').next());
    lists.flat_map(|list| list.split(',')).filter_map(|number| number.trim().parse().ok()).collect()
}
