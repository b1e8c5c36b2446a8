//! Fault: what the worker relies on is not as it was.

use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, Retention, judge};
use wire::{LaneCount, MessageId};

use super::brokers::{Brokers, LANES, OUTPUTS};
use super::events::{Events, id};
use super::rebuild::write;
use super::scene::{REFUSED_BY_LOG, Scene};
use super::worker::Worker;

const LIMIT: Duration = Duration::from_secs(50);
const SECONDARY_ANSWERS: &str = "dedup_input_answers{cluster=\"secondary\"}";

#[test]
fn an_input_that_is_away_at_the_start_is_picked_up_when_it_returns() {
    let scene = Scene::new();
    let mut output = scene.output();
    scene.primary.produce(0..1_000);
    scene.secondary.produce(500..2_000);
    scene.brokers.secondary.freeze();
    let worker = scene.run("one");
    output.wait_for(1_000, LIMIT);
    assert_eq!(worker.metric(SECONDARY_ANSWERS), 0);
    scene.brokers.secondary.thaw();
    output.wait_for(2_000, LIMIT);
    output.assert_each_once(2_000);
    worker.stop();
}

/// The heir reads the other input at once, and the one that is away when it returns.
#[test]
fn a_lane_is_taken_over_while_an_input_is_away() {
    let scene = Scene::new();
    let mut output = scene.output();
    let settings = [("DEDUP_KAFKA_SESSION_TIMEOUT_MS", "2000")];
    let [one, two] = ["one", "two"].map(|name| scene.run_with(name, &settings));
    for worker in [&one, &two] {
        worker.wait_for_metric("dedup_lanes_running", |running| running == 2);
    }
    scene.primary.produce(0..1_000);
    scene.secondary.produce(500..2_000);
    output.wait_for(2_000, LIMIT);
    scene.brokers.secondary.freeze();
    two.wait_for_metric(SECONDARY_ANSWERS, |answers| answers == 0);
    one.kill();
    scene.primary.produce(1_500..3_000);
    output.wait_for(3_000, LIMIT);
    two.wait_for_metric("dedup_lanes_running", |running| running == 4);
    assert!(!two.log().contains("cannot be opened now"), "it waited for an answer\n{}", two.log());
    scene.brokers.secondary.thaw();
    scene.secondary.produce(2_500..4_000);
    output.wait_for(4_000, LIMIT);
    output.assert_each_once(4_000);
    two.stop();
}

#[test]
fn an_output_that_was_away_is_used_again_when_it_returns() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run_with("one", &[("DEDUP_KAFKA_TRANSACTION_TIMEOUT_MS", "5000")]);
    scene.primary.produce(0..1_000);
    output.wait_for(1_000, LIMIT);
    scene.brokers.primary.freeze();
    scene.secondary.produce(500..3_000);
    // Longer than a session and than a transaction may last: everything is dropped and begun again.
    worker.wait_for_metric("dedup_lanes_running", |count| count < u64::from(LANES));
    scene.brokers.primary.thaw();
    output.wait_for(3_000, LIMIT);
    output.assert_each_once(3_000);
    worker.stop();
}

/// The topic is made again and grows past the stored position before anybody looks: no offset is out of range.
#[test]
fn an_input_made_anew_is_read_from_its_earliest_record() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..100);
    scene.secondary.produce(0..1_000);
    output.wait_for(1_000, LIMIT);
    worker.stop();
    scene.brokers.secondary.make_anew(&[EVENTS]);
    let secondary = Events::to(&scene.brokers.secondary);
    secondary.produce(1_000..4_000);
    let worker = scene.run("one");
    output.wait_for(4_000, LIMIT);
    // And while it runs.
    scene.brokers.secondary.make_anew(&[EVENTS]);
    let secondary = Events::to(&scene.brokers.secondary);
    secondary.produce(3_000..9_000);
    output.wait_for(9_000, LIMIT);
    output.assert_each_once(9_000);
    worker.stop();
}

#[test]
fn an_input_with_fewer_partitions_than_lanes_is_refused() {
    let scene = Scene::new();
    scene.brokers.secondary.make_anew_of(EVENTS, LANES - 1);
    let refusal = scene.ask("one", &["run"]).unwrap_err();
    assert!(refusal.contains("events on the secondary cluster has 3 partitions and there are 4 lanes"), "{refusal}");
}

/// Whichever cluster they lie on, and in the words that tapi has for them, too.
#[test]
fn topics_set_so_that_they_lose_or_double_events_are_refused() {
    let scene = Scene::new();
    let (primary, secondary) = (&scene.brokers.primary, &scene.brokers.secondary);
    for (cluster, broker, topic, wrong) in [
        ("primary", primary, EVENTS, ("message.timestamp.type", "CreateTime")),
        ("secondary", secondary, EVENTS, ("message.timestamp.type", "CreateTime")),
        ("secondary", secondary, EVENTS, ("retention.ms", "3600000")),
        ("output", primary, EVENTS_INDEX, ("message.timestamp.type", "CreateTime")),
        ("output", primary, EVENTS_INDEX, ("retention.ms", "604800000")),
        ("output", primary, EVENTS_DEDUPED, ("cleanup.policy", "compact")),
    ] {
        broker.make_anew_with(&[topic], &[wrong]);
        let refusal = scene.ask("one", &["run"]).unwrap_err();
        let finding = judge(topic, &[wrong], Retention::default()).remove(0);
        assert!(refusal.contains(&format!("on the {cluster} cluster: {finding}")), "{refusal}");
        broker.make_anew(&[topic]);
    }
    // What makes a promise weaker is said, and no more than that.
    primary.make_anew_with(&[EVENTS_DEDUPED], &[("retention.ms", "604800000")]);
    let worker = scene.run("one");
    worker.wait_for_log("events.deduped has retention.ms=604800000, must be 3369600000 or more, or -1: ");
    worker.wait_for_metric("dedup_lanes_running", |running| running == u64::from(LANES));
    worker.stop();
}

/// An operator sets a topic wrongly while a worker reads it: that is said, and no event waits for its end meanwhile.
#[test]
fn an_input_that_is_set_wrongly_under_a_worker_is_read_on() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.secondary.produce(0..500);
    output.wait_for(500, LIMIT);
    scene.brokers.secondary.make_anew_with(&[EVENTS], &[("message.timestamp.type", "CreateTime")]);
    worker.wait_for_log("events has message.timestamp.type=CreateTime, must be LogAppendTime: ");
    Events::to(&scene.brokers.secondary).produce(500..1_000);
    output.wait_for(1_000, LIMIT);
    output.assert_each_once(1_000);
    worker.stop();
}

/// Partitions are added while a worker runs, to one input, to the other, to the output: what is in the new ones is read, and
/// is one with what was in the old ones. One that is no multiple of the lanes is said. New partitions of the changelog are no
/// lanes.
#[test]
fn a_topic_may_grow_under_a_worker() {
    let scene = Scene::new();
    let (primary, secondary) = (&scene.brokers.primary, &scene.brokers.secondary);
    let mut output = scene.output();
    let worker = scene.run_leaving("one", &[("DEDUP_BATCH_RECORDS_MAX", "100")]);
    scene.primary.produce(0..500);
    output.wait_for(500, LIMIT);
    secondary.add_partitions(EVENTS, 24);
    // Nearly all of these have another partition than before, and half of them are repeats.
    Events::to(secondary).over(24).produce(0..1_000);
    output.wait_for(1_000, LIMIT);
    primary.add_partitions(EVENTS, 16);
    Events::to(primary).over(16).produce(500..2_000);
    output.wait_for(2_000, LIMIT);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 1_000);
    primary.add_partitions(EVENTS_DEDUPED, 18);
    worker.wait_for_log("the output has grown");
    output.reads(18);
    Events::to(secondary).over(24).produce(1_000..4_000);
    output.wait_for(4_000, LIMIT);
    assert!((8..16).all(|partition| primary.ends(EVENTS_DEDUPED, partition).1 > 0), "the new ones are written to");
    assert!(
        (16..18).all(|partition| primary.ends(EVENTS_DEDUPED, partition).1 == 0),
        "which is no multiple of the lanes"
    );
    primary.add_partitions(EVENTS_INDEX, 6);
    worker.wait_for_metric(REFUSED_BY_LOG, |count| count == 2);
    assert!(worker.log().contains("events.index 5 is no lane: there are 4"), "{}", worker.log());
    scene.secondary.produce(3_000..5_000);
    output.wait_for(5_000, LIMIT);
    output.assert_each_once(5_000);
    worker.stop();
    let verified = scene.ask("one", &["verify"]).unwrap();
    assert!(verified.contains("5000 identities of 4 lanes compared, 0 differences"), "{verified}");
    // Whoever knows only the changelog, and then only the output, finds nothing new.
    for name in ["another", "third"] {
        if name == "third" {
            let rebuilt = scene.ask(name, &["rebuild", "--from", "events.deduped"]).unwrap();
            assert!(rebuilt.contains("5000 identities of 4 lanes"), "{rebuilt}");
        }
        let worker = scene.run_leaving(name, &[]);
        Events::to(primary).over(16).produce(0..5_000);
        worker.wait_for_metric("dedup_duplicate_events_total", |count| count >= 5_000);
        worker.stop();
    }
    output.assert_each_once(5_000);
}

/// Somebody writes to an input by another partitioner: it is refused as a whole, by name, as soon as there are enough records
/// in each lane to tell.
#[test]
fn an_input_of_strays_is_refused() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..500);
    output.wait_for(500, LIMIT);
    // By a count that the lanes do not divide.
    Events::to(&scene.brokers.secondary).over(11).produce(500..5_000);
    worker.wait_for_log("events on the secondary cluster is not read: ");
    scene.primary.produce(5_000..6_000);
    output.wait_for(1_500, LIMIT);
    output.drain(Duration::from_millis(700));
    // Fewer than a hundred in a lane say nothing, and a batch may be of one.
    let set_aside = worker.metric("dedup_rejected_records_total");
    assert!(set_aside < 100 * u64::from(LANES), "{set_aside} of 4500 were set aside");
    let said = worker.get("/");
    assert!(said.contains("murmur2"), "the remedy is where people look: {said}");
    worker.stop();
}

/// Positions are kept by cluster, not by what the settings call it: nothing is read twice, nothing is passed over.
#[test]
fn inputs_swapped_in_the_settings_are_read_on_where_each_was() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..3_000);
    scene.secondary.produce(2_900..4_000);
    output.wait_for(4_000, LIMIT);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 100);
    worker.stop();
    scene.primary.produce(4_000..4_500);
    scene.secondary.produce(4_400..6_000);
    let (primary, secondary) = (&scene.brokers.primary.address, &scene.brokers.secondary.address);
    let swapped = [
        ("DEDUP_KAFKA_PRIMARY", secondary.as_str()),
        ("DEDUP_KAFKA_SECONDARY", primary.as_str()),
        ("DEDUP_KAFKA_OUTPUT", primary.as_str()),
    ];
    let worker = scene.run_leaving("one", &swapped);
    output.wait_for(6_000, LIMIT);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 100);
    assert_eq!(worker.metric("dedup_published_events_total"), 2_000);
    worker.stop();
    // And back, for one that knows only the changelog.
    scene.secondary.produce(5_900..7_000);
    let worker = scene.run("another");
    output.wait_for(7_000, LIMIT);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 100);
    output.assert_each_once(7_000);
    worker.stop();
}

#[test]
fn an_emptied_changelog_is_refused() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..1_000);
    output.wait_for(1_000, LIMIT);
    worker.stop();
    scene.brokers.primary.make_anew(&[EVENTS_INDEX]);
    // By whoever has no index, too.
    for name in ["one", "another"] {
        scene.refuses(name, "is empty, but there is output in events.deduped");
    }
    scene.brokers.primary.delete(&[EVENTS_DEDUPED]);
    scene.brokers.primary.make_anew(&[EVENTS_DEDUPED]);
    scene.refuses("one", "is empty, but there is an index");
}

#[test]
fn what_an_aborted_transaction_leaves_is_no_output() {
    let scene = Scene::new();
    let mut output = scene.output();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &scene.brokers.primary.address).set("transactional.id", "somebody.else");
    let producer: BaseProducer = config.create().unwrap();
    producer.init_transactions(LIMIT).unwrap();
    producer.begin_transaction().unwrap();
    for partition in 0..OUTPUTS {
        let record = BaseRecord::<(), str>::to(EVENTS_DEDUPED).partition(partition.cast_signed()).payload("aborted");
        producer.send(record).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    producer.abort_transaction(LIMIT).unwrap();
    assert!((0..OUTPUTS).all(|partition| scene.brokers.primary.ends(EVENTS_DEDUPED, partition).1 > 0));
    let worker = scene.run("one");
    scene.primary.produce(0..500);
    output.wait_for(500, LIMIT);
    output.assert_each_once(500);
    worker.stop();
}

/// A record that nobody can read lies at the end of the changelog of one lane of eight, and two workers share the lanes. Each
/// of them would refuse that one, and both go on with the others, until somebody puts it right under them.
#[test]
fn a_lane_that_is_refused_holds_up_no_other_and_no_worker() {
    const EIGHT: u32 = 8;
    let scene = Scene::new();
    let Brokers { primary, secondary, .. } = scene.brokers;
    primary.make_anew_of(EVENTS_INDEX, EIGHT);
    secondary.make_anew_of(EVENTS, EIGHT);
    let [primary, secondary] = [primary, secondary].map(|broker| Events::to(broker).over(EIGHT));
    let lanes = LaneCount::try_new(EIGHT).unwrap();
    let lane = |number: u64| lanes.lane_of(MessageId::try_new(id(number).as_bytes()).unwrap());
    let mut output = scene.output();
    let worker = scene.run("one");
    primary.produce(0..2_000);
    output.wait_for(2_000, LIMIT);
    worker.stop();
    write(&scene, 1, [b"nobody can read this".to_vec()]);
    let workers = ["one", "two"].map(|name| scene.run(name));
    secondary.produce(1_000..4_000);
    let of_others = (0..4_000).filter(|number| lane(*number) != 1 || *number < 2_000);
    output.wait_for(of_others.clone().count(), LIMIT);
    output.assert_each_once_of(of_others);
    let sum = |name: &str| workers.iter().map(|worker| worker.metric(name)).sum::<u64>();
    let begun = Instant::now();
    while (sum("dedup_lanes_running"), sum(REFUSED_BY_LOG)) != (u64::from(EIGHT) - 1, 1) {
        assert!(begun.elapsed() < LIMIT, "they do not share the lanes");
    }
    for worker in &workers {
        let said = worker.wait_for_readiness(200);
        let has_it = worker.metric(REFUSED_BY_LOG) == 1;
        assert_eq!(said.contains("lane 1: refused: events.index 1 is damaged at "), has_it, "{said}");
    }
    let rebuilt = scene.ask("one", &["rebuild", "--from", "events.deduped"]).unwrap();
    assert!(rebuilt.contains("identities of 8 lanes written"), "{rebuilt}");
    output.wait_for(4_000, LIMIT);
    output.assert_each_once(4_000);
    assert_eq!(sum(REFUSED_BY_LOG), 0);
    workers.into_iter().for_each(Worker::stop);
}

/// Reads of the index fail for a moment, and then for longer: it waits and says so, a stop is heard meanwhile, and what
/// cannot be read is made again from the changelog.
#[test]
fn an_index_that_cannot_be_read_is_waited_for_and_then_made_again() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..2_000);
    output.wait_for(2_000, LIMIT);
    // What was published lies in sealed runs now.
    worker.stop();
    let (shim, sign) = (scene.unreadable_shim(), scene.folder().join("unreadable"));
    let settings = [("LD_PRELOAD", shim.as_str()), ("UNREADABLE_WHILE", sign.to_str().unwrap())];
    let run = || {
        let _ = std::fs::remove_file(&sign);
        let worker = scene.run_with("one", &settings);
        worker.wait_for_metric("dedup_lanes_running", |running| running == u64::from(LANES));
        std::fs::write(&sign, b"").unwrap();
        worker
    };
    let worker = run();
    scene.secondary.produce(0..500);
    worker.wait_for_log("the index cannot decide now");
    worker.stop();
    let worker = run();
    // The first may have been decided before the sign was there.
    scene.secondary.produce(0..500);
    worker.wait_for_metric("dedup_indexes_thrown_away_total", |count| count > 0);
    scene.secondary.produce(500..3_000);
    output.wait_for(3_000, LIMIT);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 2_500);
    output.assert_each_once(3_000);
    worker.stop();
}

/// Nobody answers, and the worker is told to stop: it is not kept by what it waits for.
#[test]
fn a_stop_is_heard_while_the_output_is_frozen() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run("one");
    scene.primary.produce(0..1_000);
    output.wait_for(1_000, LIMIT);
    scene.brokers.primary.freeze();
    scene.secondary.produce(1_000..3_000);
    let said = worker.wait_for_readiness(503);
    assert!(said.contains("the output cluster has not answered for "), "{said}");
    let begun = Instant::now();
    worker.stop();
    let took = begun.elapsed();
    scene.brokers.primary.thaw();
    // It is promised within 10 s; what was open may have lived for 30.
    assert!(took < Duration::from_secs(20), "{took:?}");
    let worker = scene.run("one");
    output.wait_for(3_000, LIMIT);
    output.assert_each_once(3_000);
    worker.stop();
}

/// Another program is in the group, with another protocol: that is said once, and the worker is not ready until the other
/// one is gone.
#[test]
fn a_worker_that_the_group_does_not_take_in_says_so() {
    let scene = Scene::new();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", &scene.brokers.primary.address)
        .set("group.id", &scene.group)
        .set("partition.assignment.strategy", "range");
    let stranger: BaseConsumer = config.create().unwrap();
    stranger.subscribe(&[EVENTS_INDEX]).unwrap();
    let begun = Instant::now();
    while stranger.assignment().unwrap().count() == 0 {
        let _ = stranger.poll(Duration::from_millis(50));
        assert!(begun.elapsed() < LIMIT, "the stranger is in no group");
    }
    let worker = scene.run("one");
    let said = worker.wait_for_readiness(503);
    assert!(said.contains("the group does not take this worker in") && said.contains("kafka.group"), "{said}");
    let log = worker.log();
    assert_eq!(log.matches("the group does not take this process in").count(), 1, "{log}");
    drop(stranger);
    worker.wait_for_metric("dedup_lanes_running", |running| running == u64::from(LANES));
    worker.wait_for_readiness(200);
    worker.stop();
}
