//! `verify` against topics of a real broker: what `read_committed` readers see is compared, all of it and nothing else.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::mpsc::channel;

use crate::broker::{Broker, free_port};
use crate::program::Ended;
use crate::scene::Scene;
use crate::verify::{alone, answer, fails, passes, stop_answers};

/// The last one stays empty.
const PARTITIONS: i32 = 4;
const USED: i32 = PARTITIONS - 1;

#[test]
fn topics_are_read_as_their_readers_do() {
    let scene = Scene::acknowledged();
    let mut broker = Broker::launch(&scene.path(""));

    // While it starts: nobody answers elsewhere.
    let ended = verify(&scene, &format!("127.0.0.1:{}", free_port()), "out", &[]);
    assert_eq!(ended.code, 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("does not answer") && ended.stderr.contains("make kafka"), "{}", ended.stderr);

    broker.answered();
    let address = broker.address.clone();
    let ended = verify(&scene, &address, "out", &[]);
    assert_eq!(ended.code, 2, "{}", ended.stderr);
    assert!(ended.stderr.contains("has no topic out") && ended.stderr.contains("make kafka"), "{}", ended.stderr);

    // Aborted records lie between the committed ones and behind them: doubled, foreign and no event at all.
    broker.create_topic("out", PARTITIONS);
    let producer = broker.producer();
    let (first, second) = scene.lines.split_at(scene.lines.len() / 2);
    let foreign = scene.lines[0].replace(&scene.id(0), "somebody-elses");
    let aborted = [scene.lines[5].clone(), foreign, "not an event".to_owned(), scene.lines[70].clone()];
    producer.write("out", USED, first);
    producer.commit();
    producer.write("out", USED, &aborted);
    producer.abort();
    producer.write("out", USED, second);
    producer.commit();
    producer.write("out", USED, &aborted);
    producer.abort();
    let records = scene.lines.len() + 2 * aborted.len();
    let offsets: i64 = (0..PARTITIONS).map(|partition| broker.end("out", partition)).sum();
    assert_eq!(offsets, records as i64 + 4 * i64::from(USED), "records and a marker of each transaction");

    let verdict_path = scene.path("verdict.json").display().to_string();
    let ended = verify(&scene, &address, "out", &["--json", &verdict_path]);
    passes(&ended);
    let verdict = read_verdict(&verdict_path);
    assert_eq!(verdict["output"]["lines"], scene.lines.len());
    assert_eq!(verdict["output"]["partitions"], PARTITIONS);
    assert_eq!(verdict["output"]["bytes"], scene.lines.iter().map(String::len).sum::<usize>());

    // What an open transaction holds back may be anything, so the output is not finished.
    let start = broker.end("out", 0);
    producer.write("out", 1, [&scene.lines[5]]);
    let ended = verify(&scene, &address, "out", &["--timeout", "300ms"]);
    assert!(ended.stdout.contains("open transactions in 1 partitions"), "{}", ended.stdout);
    fails(&ended, "torn", &[&format!("out partition 0 at offset {start}")]);
    alone(&ended, "torn");
    producer.abort();
    passes(&verify(&scene, &address, "out", &[]));

    producer.write("out", USED, [&scene.lines[5], &"no event".to_owned()]);
    let place = format!("out partition 1 at offset {}", broker.end("out", 1) - 1);
    producer.commit();
    let ended = verify(&scene, &address, "out", &[]);
    fails(&ended, "doubled", &[&scene.id(5)]);
    fails(&ended, "malformed", &[&place]);

    // The last event is committed only when verify has looked twice; it asks the server before each look.
    broker.create_topic("late", PARTITIONS);
    let (last, others) = scene.lines.split_last().expect("lines");
    producer.write("late", USED, others);
    producer.commit();
    producer.write("late", USED, [last]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let admin_address = listener.local_addr().expect("an address");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if answer(&listener, 0) && answer(&listener, 0) {
                producer.commit();
                while answer(&listener, 0) {}
            }
        });
        let ended = verify(&scene, &address, "late", &["--admin", &format!("http://{admin_address}")]);
        stop_answers(&admin_address);
        passes(&ended);
    });

    a_topic_that_grows_is_read_in_its_new_partitions_too(&scene, &broker);

    // The producers in there have taken the place of the first one.
    let producer = broker.producer();
    broker.create_topic("less", PARTITIONS);
    let lost = scene.id(13);
    producer.write("less", USED, scene.lines.iter().filter(|line| !line.contains(&lost)));
    producer.commit();
    let ended = verify(&scene, &address, "less", &[]);
    fails(&ended, "missing", &[&lost]);
    alone(&ended, "missing");
}

/// It grows after verify has looked twice, and the last event comes out in a partition that was not there before. Until then
/// the server has an event left.
fn a_topic_that_grows_is_read_in_its_new_partitions_too(scene: &Scene, broker: &Broker) {
    broker.create_topic("grown", USED);
    let producer = broker.producer();
    let (last, others) = scene.lines.split_last().expect("lines");
    producer.write("grown", USED, others);
    producer.commit();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let admin_address = listener.local_addr().expect("an address");
    let verdict_path = scene.path("verdict.json").display().to_string();
    let backlog = &AtomicU64::new(1);
    let (looked, has_looked) = channel();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while answer(&listener, backlog.load(SeqCst)) {
                // Nobody waits for more than the first ones.
                let _ = looked.send(());
            }
        });
        scope.spawn(move || {
            // The third question comes after the second look.
            (0..3).for_each(|_| has_looked.recv().expect("a question"));
            broker.grow_topic("grown", USED + 2);
            let producer = broker.producer();
            producer.write_each("grown", [(last, USED + 1)]);
            producer.commit();
            backlog.store(0, SeqCst);
        });
        let admin = format!("http://{admin_address}");
        let ended = verify(scene, &broker.address, "grown", &["--admin", &admin, "--json", &verdict_path]);
        stop_answers(&admin_address);
        passes(&ended);
    });
    let verdict = read_verdict(&verdict_path);
    assert_eq!(verdict["output"]["partitions"], USED + 2);
    assert_eq!(verdict["output"]["lines"], scene.lines.len());
}

fn read_verdict(path: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(path).expect("reads")).expect("JSON")
}

fn verify(scene: &Scene, brokers: &str, topic: &str, more: &[&str]) -> Ended {
    scene.verify_output(&format!("kafka://{brokers}/{topic}"), &["ledger"], more)
}
