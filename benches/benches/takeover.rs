//! How long a lane stands still when its owner changes.
//!
//! Rows `takeover_10m_s`, `takeover_10m_old_index_s`: seconds from the moment in which the group gives a worker the lane of
//! one that was killed with -9 to the first event that the new owner commits there. Two lanes with 10 million identities each,
//! over the window's 28 days; two workers with a lane each. In the first case the new owner has never had the lane, as a
//! worker on another host: it replays the whole changelog. In the second it has an index of its own from an earlier time.
//!
//! Rows `takeover_16_lanes_s`, `takeover_16_lanes_old_index_s`: the same of 16 lanes at once, 10 million identities in all, until
//! each of the lanes has committed an event.
//!
//! Rows `hand_over_gap_ms`, `hand_over_wait_ms`: a worker leaves for good while an event comes into one of its lanes every 5 ms:
//! the longest time between two that a reader of the output gets one after the other, and the longest way of one.
//!
//! One real broker; each topic has as many partitions as there are lanes. Events are waiting in the lanes; a repeat among them
//! must not come out.

use std::collections::{BTreeMap, BTreeSet};
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

const LIMIT: Duration = Duration::from_mins(2);
/// Longer, and something is broken.
const TAKEOVER_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(2);
/// What a worker says when the group gives it partitions.
const GIVEN: &str = "the group gives this worker partitions";
const RUNNING: &str = "dedup_lanes_running";
/// Between two events while a worker leaves, how many of them come before it is told to, and how many there are.
const EVERY: Duration = Duration::from_millis(5);
const LEAVES_AT: usize = 400;
const EVENTS_OF_HAND_OVER: usize = 1_600;
/// A hand-over is over in a moment, and what else the machine does meanwhile shows: the row is the median of so many.
const HAND_OVERS: usize = 3;

fn main() {
    let broker = Broker::start(env!("CARGO_TARGET_TMPDIR"));
    let mut rows = Vec::new();
    for (lanes, digests, names) in [
        (2, 20_000_000, ["takeover_10m_s", "takeover_10m_old_index_s"]),
        (32, 20_000_000, ["takeover_16_lanes_s", "takeover_16_lanes_old_index_s"]),
    ] {
        let mut scene = Scene::new(&broker, lanes, digests);
        for (name, taken) in names.into_iter().zip(scene.takeovers()) {
            assert!(taken < TAKEOVER_MAX, "taking over lasted {taken:?}");
            rows.push(Row { name, value: taken.as_secs_f64(), unit: "s", floor: None });
        }
        if lanes == 2 {
            let times: Vec<[Duration; 2]> = (0..HAND_OVERS).map(|_| scene.hand_over()).collect();
            for (place, name) in ["hand_over_gap_ms", "hand_over_wait_ms"].into_iter().enumerate() {
                let value = record::median(times.iter().map(|times| times[place].as_secs_f64() * 1e3).collect());
                rows.push(Row { name, value, unit: "ms", floor: None });
            }
        }
    }
    record::keep(&rows);
}

struct Scene<'b> {
    broker: &'b Broker,
    producer: Sender,
    folder: TempDir,
    lanes: u32,
    /// Of the next new event.
    number: u64,
    /// Workers started.
    started: u32,
}

/// An event in each of some lanes, by the lane.
type OneEach = BTreeMap<u32, String>;

impl<'b> Scene<'b> {
    fn new(broker: &'b Broker, lanes: u32, digests: u64) -> Self {
        broker.make_anew(&[EVENTS, EVENTS_DEDUPED, EVENTS_REJECTED], lanes);
        Changelog::fill(broker, lanes, digests);
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
        let producer = broker.client().set("linger.ms", "0").create().expect("a producer");
        Self { broker, producer, folder, lanes, number: digests, started: 0 }
    }

    /// The time of a takeover by a worker that has never had the lanes, and by one that had them before.
    fn takeovers(&mut self) -> [Duration; 2] {
        let first = self.start("first");
        wait_until("the first worker has every lane", LIMIT, || first.metric(RUNNING) == u64::from(self.lanes));
        let second = self.start("second");
        let half = u64::from(self.lanes / 2);
        let share = |first: &Program| {
            wait_until("they share", LIMIT, || second.metric(RUNNING) == half && first.metric(RUNNING) == half);
        };
        share(&first);
        let of_second: BTreeSet<u32> = given(&second).into_iter().collect();
        let of_first: Vec<u32> = (0..self.lanes).filter(|lane| !of_second.contains(lane)).collect();
        let without_index = self.takeover(first, &second, &of_first);

        let first = self.start("first");
        share(&first);
        let mut of_first: Vec<u32> = given(&first);
        of_first.sort_unstable();
        of_first.dedup();
        [without_index, self.takeover(first, &second, &of_first)]
    }

    /// Starts a worker whose index is in the folder called `data`.
    fn start(&mut self, data: &str) -> Program {
        self.started += 1;
        let mut command = program::command("dedup-worker");
        command
            .args(["run", "--leave"])
            .env("DEDUP_ADMIN_LISTEN", "127.0.0.1:0")
            .env("DEDUP_DATA", self.folder.path().join(data))
            .env("DEDUP_KAFKA_PRIMARY", &self.broker.address)
            .env("DEDUP_KAFKA_SECONDARY", "")
            .env("DEDUP_KAFKA_SESSION_TIMEOUT_MS", "6000")
            .env("DEDUP_KAFKA_GROUP", format!("lanes-{}", self.lanes))
            .env("DEDUP_LOG_FORMAT", "text");
        Program::start(command, &self.folder.path().join(format!("{data}-{}.log", self.started)))
    }

    /// Kills the owner of some lanes while events come in there, and gives the time from the assignment of its heir to the
    /// heir's first committed event in the last of them.
    fn takeover(&mut self, owner: Program, heir: &Program, lanes: &[u32]) -> Duration {
        // So that the changelog goes on behind whatever index the heir may have.
        let before = self.produce_new(lanes);
        self.wait_for(&before);
        let given_before = given(heir).len();
        owner.kill();
        let repeats: Vec<String> = lanes.iter().map(|lane| self.known(*lane)).collect();
        for (lane, repeat) in lanes.iter().zip(&repeats) {
            self.produce(repeat, *lane);
        }
        let events = self.produce_new(lanes);
        wait_until("the group has noticed", LIMIT, || given(heir).len() >= given_before + lanes.len());
        let noticed = Instant::now();
        let newest: BTreeSet<u32> = given(heir)[given_before..].iter().copied().collect();
        assert_eq!(newest, lanes.iter().copied().collect(), "the heir gets what the other one had");
        let seen = self.wait_for(&events);
        let taken = noticed.elapsed();
        assert!(!repeats.iter().any(|repeat| seen.contains(repeat)), "one of {repeats:?} had been published before");
        println!("{} lanes of {}: {taken:.2?} from the assignment to the last first event", lanes.len(), self.lanes);
        taken
    }

    /// A worker leaves for good: the longest time between two events of one of its lanes, and the longest way of one.
    fn hand_over(&mut self) -> [Duration; 2] {
        let leaving = self.start("first");
        let staying = self.start("second");
        wait_until("they share", LIMIT, || staying.metric(RUNNING) == 1 && leaving.metric(RUNNING) == 1);
        let lane = *given(&leaving).iter().find(|lane| !given(&staying).contains(lane)).unwrap_or(&given(&leaving)[0]);
        let ids: Vec<String> = (0..EVENTS_OF_HAND_OVER).map(|_| self.new_id(lane)).collect();
        let consumer = kafka::tail(&self.broker.address, EVENTS_DEDUPED, self.lanes);
        let (mut sent, mut came) = (BTreeMap::new(), BTreeMap::new());
        let begun = Instant::now();
        let mut next = 0;
        while came.len() < ids.len() {
            assert!(begun.elapsed() < LIMIT, "{} of {} came out", came.len(), ids.len());
            if next < ids.len() && begun.elapsed() >= EVERY * next as u32 {
                if next == LEAVES_AT {
                    leaving.terminate();
                }
                sent.insert(ids[next].clone(), Instant::now());
                self.send(&ids[next], lane);
                next += 1;
            }
            if let Some(Ok(record)) = consumer.poll(Duration::from_millis(1)) {
                let id = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
                if sent.contains_key(&id) {
                    came.insert(id, Instant::now());
                }
            }
        }
        let mut times: Vec<Instant> = came.values().copied().collect();
        times.sort_unstable();
        let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        let wait = sent.iter().map(|(id, sent)| came[id] - *sent).max().unwrap_or_default();
        println!("lane {lane} was handed over with a gap of {gap:.2?}, the longest wait was {wait:.2?}");
        [gap, wait]
    }

    /// An id of the lane that the changelog has.
    fn known(&self, lane: u32) -> String {
        let mut ids = (0..u64::MAX).map(changelog::message_id);
        ids.find(|id| changelog::lane(id, self.lanes) == lane).expect("an id of that lane")
    }

    /// An id of the lane that nobody knows yet.
    fn new_id(&mut self, lane: u32) -> String {
        loop {
            self.number += 1;
            let id = changelog::message_id(self.number);
            if changelog::lane(&id, self.lanes) == lane {
                return id;
            }
        }
    }

    /// Produces an event into each lane that nobody knows yet; their ids.
    fn produce_new(&mut self, lanes: &[u32]) -> OneEach {
        let mut ids = OneEach::new();
        for lane in lanes {
            let id = self.new_id(*lane);
            self.produce(&id, *lane);
            ids.insert(*lane, id);
        }
        ids
    }

    fn produce(&self, id: &str, lane: u32) {
        self.send(id, lane);
        kafka::settle(&self.producer);
    }

    fn send(&self, id: &str, lane: u32) {
        let mut value = String::new();
        write!(value, r#"{{"messageId":"{id}","type":"track","event":"Order Completed"}}"#).expect("memory");
        let event = Event { key: id.into(), source: SOURCE, received_at_ms: now_ms(), value: value.into_bytes() };
        kafka::send(&self.producer, kafka::record_of(EVENTS, lane, &event));
    }

    /// Reads the output of some lanes until these events are in it; the ids that were.
    fn wait_for(&self, events: &OneEach) -> BTreeSet<String> {
        let consumer = kafka::reader(&self.broker.address, EVENTS_DEDUPED, events.keys().copied(), true);
        let (mut seen, begun) = (BTreeSet::new(), Instant::now());
        while !events.values().all(|id| seen.contains(id)) {
            assert!(begun.elapsed() < LIMIT, "not all of {events:?} come out");
            if let Some(Ok(record)) = consumer.poll(POLL) {
                seen.insert(String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned());
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
