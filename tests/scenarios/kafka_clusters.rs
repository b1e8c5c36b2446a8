//! Goal: the Kafka that other scenarios break is real, set up as the programs want it, and breaks only as they say.
//! Fault: one broker killed with -9 right after it acknowledged, the other one frozen; a port that somebody else holds;
//! topics that have grown, or that the lanes do not divide.
//! Oracle: Kafka's own console tools; its metadata answer; `wire`'s partition function against Kafka's partitioner, and its
//! rules of topics against what the broker says of them.

use std::net::TcpListener;
use std::process;
use std::time::Instant;

use tests::{Cluster, Kafka, Scene, topic};
use wire::partition::partition_of;
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED, Finding, REPLICAS, Retention, TOPICS, judge};
use wire::{MessageId, PartitionCount};

/// What `make kafka` gives each topic but `events.index`.
const PARTITIONS: u32 = 16;
const RECORDS: usize = 200;

#[test]
fn two_clusters_start_answer_and_keep_their_records() {
    let scene = Scene::begin();
    let begun = Instant::now();
    let Kafka { mut primary, mut secondary } = Kafka::start(&scene);
    scene.say(format_args!("both answer after {:.1} s", begun.elapsed().as_secs_f64()));
    let ids = [primary.ask().expect("an answer"), secondary.ask().expect("an answer")];
    assert_ne!(ids[0], ids[1], "two clusters with one id cannot be told apart");

    let topics = [EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED];
    let said = primary.create_topics(&topics, &[]).expect("topics");
    assert_eq!(said.lines().count(), topics.len(), "{said}");
    for (topic, partitions, days) in [(EVENTS, 16, 7), (EVENTS_DEDUPED, 16, 39), (EVENTS_INDEX, 4, 39)] {
        let made = format!("created {topic} with {partitions} partitions, ");
        let line = said.lines().find(|line| line.starts_with(&made)).expect("the topic's line");
        let retention_ms = days * 24 * 60 * 60 * 1000_u64;
        assert!(line.contains(&format!("retention.ms={retention_ms}}}")), "{line}");
    }
    assert_eq!(primary.create_topics(&topics, &[]).expect("topics"), "", "made, and made as they should be");
    secondary.create_topics(&[EVENTS, EVENTS_REJECTED], &[]).expect("topics");

    let records: Vec<(String, String)> = (0..RECORDS).map(|n| (format!("id-{n}"), format!("{{\"n\":{n}}}"))).collect();
    primary.produce(EVENTS, &records);
    let process = primary.id();
    primary.kill();
    assert_eq!(primary.ask(), None, "a killed broker answers");

    secondary.freeze();
    assert_eq!(secondary.ask(), None, "a frozen broker answers");
    secondary.thaw();
    secondary.answered();
    assert_eq!(secondary.ask().as_ref(), Some(&ids[1]));

    let begun = Instant::now();
    primary.start();
    scene.say(format_args!("answers {:.1} s after its kill", begun.elapsed().as_secs_f64()));
    assert_ne!(primary.id(), process);
    assert_eq!(primary.ask().as_ref(), Some(&ids[0]), "the same cluster as before");
    let count = PartitionCount::try_new(PARTITIONS).expect("a count");
    let mut consumed = primary.consume(EVENTS, RECORDS);
    for record in &consumed {
        let id = MessageId::try_new(record.key.as_bytes()).expect("a message id");
        assert_eq!(partition_of(id, count), record.partition, "Kafka's partitioner puts {} elsewhere", record.key);
    }
    consumed.sort_by(|a, b| a.key.cmp(&b.key));
    let mut records = records;
    records.sort();
    assert_eq!(consumed.into_iter().map(|record| (record.key, record.value)).collect::<Vec<_>>(), records);

    primary.stop();
    secondary.stop();
}

#[test]
fn topics_are_made_as_the_programs_want_them_and_judged_in_their_words() {
    let scene = Scene::begin();
    let mut cluster = Cluster::new(&scene, "one");
    cluster.start();
    cluster.create_topics(&TOPICS, &[]).expect("topics");
    for topic in TOPICS {
        let settings = topic::settings(cluster.address, topic);
        let mut found: Vec<_> = settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        found.push((REPLICAS, "1"));
        let findings = judge(topic, &found, Retention::default());
        let weak: Vec<_> = findings.iter().map(|finding| (finding.setting, finding.refuse)).collect();
        assert_eq!(weak, [("replicas", false), ("min.insync.replicas", false)], "{topic} on one broker");
    }

    // Kept for ever, which is fine, but bounded in bytes, which is not.
    let wrong = ("retention.bytes", "1000000");
    topic::make_anew(cluster.address, &[EVENTS], &[wrong]);
    let said = cluster.create_topics(&[EVENTS], &[]).expect("it is there, and left as it is");
    let findings: Vec<_> = judge(EVENTS, &[wrong], Retention::default()).iter().map(Finding::to_string).collect();
    assert_eq!(said, format!("{}; left as it is\n", findings.join("\n")));
    let settings = topic::settings(cluster.address, EVENTS);
    assert!(settings.iter().any(|(name, value)| (name.as_str(), value.as_str()) == wrong), "{settings:?}");
    cluster.stop();
}

/// A topic may have grown, in steps that the lanes divide; whatever else has another number is refused, with the reason.
#[test]
fn partitions_are_judged_by_the_lanes() {
    let scene = Scene::begin();
    let mut cluster = Cluster::new(&scene, "one");
    cluster.start();
    let topics =
        |lanes: &str, partitions: &str| cluster.create_topics(&TOPICS, &["--lanes", lanes, "--partitions", partitions]);
    topics("4", "8").expect("topics");
    topic::add_partitions(cluster.address, EVENTS, 16);
    // What was set aside has no lane.
    topic::add_partitions(cluster.address, EVENTS_REJECTED, 9);
    let said = topics("4", "8").expect("one topic has grown, and is fine");
    assert!(said.contains("events has 16 partitions, more than 8: it has grown, and is left as it is\n"), "{said}");
    let said = topics("4", "16").expect_err("less than was asked for");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("events.deduped has 8 partitions, not 16: each of the 4 lanes has 2 of them"), "{said}");
    topic::add_partitions(cluster.address, EVENTS_DEDUPED, 18);
    let said = topics("4", "16").expect_err("no multiple of the lanes");
    let expected = "events.deduped has 18 partitions, no multiple of the 4 lanes: those from 16 on get no records";
    assert!(said.contains(expected) && said.contains("up to 20"), "{said}");
    let said = topics("32", "32").expect_err("fewer than lanes");
    assert!(said.contains("events has 16 partitions and there are 32 lanes: some have none"), "{said}");
    assert!(said.contains("events.index has 4 partitions, not 32: each is a lane"), "{said}");
    let said = topics("4", "18").expect_err("wrong usage");
    assert!(said.contains("--partitions 18 is no multiple of the 4 lanes") && said.contains("--lanes L"), "{said}");
    cluster.stop();
}

#[test]
fn a_cluster_in_the_background_starts_once_stops_twice_and_names_who_holds_its_port() {
    let scene = Scene::begin();
    let cluster = Background(Cluster::new(&scene, "background"));
    let stranger = TcpListener::bind(cluster.0.address).expect("a free port");
    let refusal = cluster.run("start").expect_err("the port is held");
    assert!(refusal.contains(&format!("held by process {}", process::id())), "{refusal}");
    drop(stranger);

    let said = cluster.run("start").expect("a start");
    assert!(said.contains(" started (process "), "{said}");
    let id = cluster.0.ask().expect("an answer as soon as start is done");
    let again = cluster.run("start").expect("a second start");
    assert_eq!(again, said.replace(" started ", " runs already "), "the same process");
    assert!(again.contains(&id), "{again}");

    assert!(cluster.run("stop").expect("a stop").contains("stopped"));
    assert_eq!(cluster.0.ask(), None);
    assert_eq!(cluster.run("stop").expect("a second stop"), "");
}

/// A cluster that would outlive its scenario.
struct Background(Cluster);

impl Background {
    /// What the script said, or what it complained about.
    fn run(&self, verb: &str) -> Result<String, String> {
        let output = self.0.command(verb).output().expect("the script can be started");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.run("stop");
    }
}
