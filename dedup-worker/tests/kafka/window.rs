//! The window's clock stands while nothing can be decided, and says the same to everybody afterwards.

use std::time::{Duration, Instant};

use super::events::now_ms;
use super::scene::Scene;

const LIMIT: Duration = Duration::from_mins(1);
const FORTY_DAYS_S: i64 = 40 * 24 * 60 * 60;
/// Buckets of two seconds, four promised, one of margin: what is older than ten seconds and its own bucket is forgotten.
const WINDOW: [(&str, &str); 4] = [
    ("DEDUP_WINDOW_BUCKET_S", "2"),
    ("DEDUP_WINDOW_PROMISED_BUCKETS", "4"),
    ("DEDUP_WINDOW_MARGIN_BUCKETS", "1"),
    ("DEDUP_KAFKA_TRANSACTION_TIMEOUT_MS", "5000"),
];

/// Time passes, as it does for the window. This is the fault itself, not a wait for something.
fn wait_until(begun: Instant, seconds: u64) {
    std::thread::sleep(Duration::from_secs(seconds).saturating_sub(begun.elapsed()));
}

/// The output cluster is away for more than twice what the window remembers, while events and their repeats go on coming
/// on the other cluster. Each repeat came within the promise, and is decided long after it.
#[test]
fn an_output_away_for_longer_than_the_window_changes_no_verdict() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run_leaving("one", &WINDOW);
    worker.wait_for_metric("dedup_lanes_running", |running| running == 4);
    let begun = Instant::now();
    scene.primary.produce(0..400);
    output.wait_for(400, LIMIT);
    scene.brokers.primary.freeze();
    for (second, events) in [(4, 0..600), (10, 400..800), (16, 700..1_000), (22, 900..1_200)] {
        wait_until(begun, second);
        scene.secondary.produce(events);
    }
    // Once the worker has given up, because nothing was committed or because the group heard nothing of it, everything
    // since the freeze is decided anew, from the changelog's clock on.
    worker.wait_for_metric("dedup_lanes_running", |running| running == 0);
    scene.brokers.primary.thaw();
    output.wait_for(1_200, LIMIT);
    // A worker that knows only the changelog finds nothing more to publish.
    worker.stop();
    let another = scene.run_leaving("another", &WINDOW);
    another.wait_for_metric("dedup_lanes_running", |running| running == 4);
    output.assert_each_once(1_200);
    another.stop();
    scene.ask("third", &["rebuild"]).unwrap();
    for name in ["one", "another", "third"] {
        let verified = scene.ask(name, &["verify"]).unwrap();
        assert!(verified.contains("0 differences"), "{verified}");
    }
    // The truth made again from the output. All inputs are read again, each record by the window of its time.
    let mut command = scene.command("fourth", &["rebuild", "--from", "events.deduped"]);
    assert!(command.envs(WINDOW).status().unwrap().success());
    let fourth = scene.run_with("fourth", &WINDOW);
    fourth.wait_for_metric("dedup_lanes_running", |running| running == 4);
    fourth.wait_for_metric("dedup_duplicate_events_total", |count| count == 2_000);
    output.assert_each_once(1_200);
    fourth.stop();
}

/// Nobody works for longer than the window; what waited in both inputs is then there at once. The first repeats came
/// within the promise, and their events would be forgotten by the time at which they are read.
#[test]
fn a_backlog_longer_than_the_window_is_decided_as_it_came() {
    let scene = Scene::new();
    let mut output = scene.output();
    let worker = scene.run_with("one", &WINDOW);
    worker.wait_for_metric("dedup_lanes_running", |running| running == 4);
    let begun = Instant::now();
    scene.primary.produce(0..200);
    output.wait_for(200, LIMIT);
    worker.stop();
    wait_until(begun, 6);
    scene.secondary.produce(0..200);
    scene.primary.produce(200..300);
    wait_until(begun, 14);
    scene.primary.produce(300..400);
    scene.secondary.produce(350..400);
    wait_until(begun, 20);
    scene.primary.produce(400..600);
    let worker = scene.run_with("one", &WINDOW);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 250);
    output.wait_for(600, LIMIT);
    // What the primary had while the secondary was far behind is remembered as long as anything.
    wait_until(begun, 27);
    scene.secondary.produce(400..600);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 450);
    output.assert_each_once(600);
    worker.stop();
    let verified = scene.ask("one", &["verify"]).unwrap();
    assert!(verified.contains("0 differences"), "{verified}");
}

/// One host's clock three days ahead, one's forty days behind: published, known, and known after a replay, a rebuild of
/// the index and one of the changelog.
#[test]
fn hosts_whose_clocks_are_off_are_heard_once() {
    const DAY_MS: i64 = 24 * 60 * 60 * 1000;
    let scene = Scene::new();
    let mut output = scene.output();
    let produce = |events: &super::events::Events| {
        for number in 0..400 {
            let off = if number % 2 == 0 { 3 * DAY_MS } else { -40 * DAY_MS };
            events.produce_at(number, now_ms() + off);
        }
        events.flush();
    };
    produce(&scene.primary);
    let worker = scene.run_leaving("one", &[]);
    output.wait_for(400, LIMIT);
    produce(&scene.secondary);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 400);
    worker.stop();
    // Another worker, which knows only what the changelog says.
    produce(&scene.primary);
    let worker = scene.run("another");
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 400);
    worker.stop();
    let rebuilt = scene.ask("another", &["rebuild"]).unwrap();
    assert!(rebuilt.contains("400 identities"), "{rebuilt}");
    produce(&scene.secondary);
    let worker = scene.run_leaving("another", &[]);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 400);
    worker.stop();
    // The inputs are read again from their beginnings: four times each event, and none is new.
    let rebuilt = scene.ask("third", &["rebuild", "--from", "events.deduped"]).unwrap();
    assert!(rebuilt.contains("400 identities"), "{rebuilt}");
    let worker = scene.run("third");
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 1_600);
    output.assert_each_once(400);
    worker.stop();
}

/// A host whose clock is forty days off, either way, owns every lane for a while, with an index of its own and with none.
/// Nothing that was published is forgotten by that.
#[test]
fn a_worker_whose_clock_is_forty_days_off_forgets_nothing() {
    let scene = Scene::new();
    let mut output = scene.output();
    scene.primary.produce(0..400);
    let worker = scene.run_leaving("one", &[]);
    output.wait_for(400, LIMIT);
    worker.stop();
    let shim = scene.clock_shim();
    for (name, seconds) in
        [("one", FORTY_DAYS_S), ("another", FORTY_DAYS_S), ("one", -FORTY_DAYS_S), ("fourth", -FORTY_DAYS_S)]
    {
        let seconds = seconds.to_string();
        let off = scene.run_leaving(name, &[("LD_PRELOAD", &shim), ("CLOCK_SHIFT_SECONDS", &seconds)]);
        off.wait_for_metric("dedup_lanes_running", |running| running == 4);
        wait_until(Instant::now(), 4);
        off.stop();
    }
    scene.secondary.produce(0..400);
    let worker = scene.run_leaving("one", &[]);
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 400);
    worker.stop();
    // Whoever makes the index again from the changelog forgets nothing either.
    scene.primary.produce(0..400);
    let worker = scene.run("third");
    worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 400);
    output.assert_each_once(400);
    worker.stop();
}

/// An input's broker stamps its records forty days ahead, or behind. Whatever the window makes of that, repeats on the other
/// cluster, before and after, are known.
#[test]
fn an_input_whose_broker_is_forty_days_off_makes_nobody_forget() {
    let scene = Scene::new();
    let mut output = scene.output();
    let shim = scene.clock_shim();
    let mut count = 0;
    for seconds in [FORTY_DAYS_S, -FORTY_DAYS_S] {
        let worker = scene.run_leaving("one", &[]);
        scene.primary.produce(count..count + 400);
        output.wait_for(count as usize + 400, LIMIT);
        scene.brokers.secondary.kill();
        let shifted = scene.brokers.secondary.start_again_shifted(&shim, seconds);
        scene.brokers.secondary.wait_for_answer();
        super::events::Events::to(&scene.brokers.secondary).produce(count + 200..count + 800);
        output.wait_for(count as usize + 800, LIMIT);
        // Known to whoever saw them, and to whoever knows the changelog alone.
        scene.primary.produce(count..count + 800);
        worker.wait_for_metric("dedup_duplicate_events_total", |count| count == 1_000);
        worker.stop();
        let another = scene.run_leaving(&format!("another{seconds}"), &[]);
        scene.primary.produce(0..count + 800);
        another.wait_for_metric("dedup_duplicate_events_total", |seen| seen == count + 800);
        another.stop();
        drop(shifted);
        scene.brokers.secondary.wait_for_answer();
        count += 800;
    }
    let worker = scene.run("one");
    super::events::Events::to(&scene.brokers.secondary).produce(0..count + 100);
    output.wait_for(count as usize + 100, LIMIT);
    output.assert_each_once(count + 100);
    worker.stop();
}

/// A host's clock is wrong for longer than its lanes may stand still for it. None of them can run there any more, so that worker
/// leaves the group, and the other one has them all.
#[test]
fn a_worker_none_of_whose_lanes_can_run_leaves_them_to_others() {
    let scene = Scene::new();
    let mut output = scene.output();
    // Fourteen buckets are as many seconds.
    let window = [("DEDUP_WINDOW_BUCKET_S", "1"), ("DEDUP_WINDOW_PROMISED_BUCKETS", "300")];
    let fit = scene.run_leaving("fit", &window);
    fit.wait_for_metric("dedup_lanes_running", |running| running == 4);
    let shim = scene.clock_shim();
    let mut settings = window.to_vec();
    settings.extend([("LD_PRELOAD", shim.as_str()), ("CLOCK_SHIFT_SECONDS", "3456000")]);
    let unfit = scene.run_leaving("unfit", &settings);
    unfit.wait_for_metric("dedup_lanes_running", |running| running == 2);
    scene.primary.produce(0..400);
    output.wait_for(400, LIMIT);
    unfit.wait_for_log("none of the lanes can run here");
    let said = unfit.wait_for_readiness(503);
    assert!(said.contains("it has left the group") && said.contains("set the wrong one right"), "{said}");
    fit.wait_for_metric("dedup_lanes_running", |running| running == 4);
    scene.secondary.produce(200..800);
    output.wait_for(800, LIMIT);
    output.assert_each_once(800);
    unfit.wait_for_log("joining the group again");
    unfit.stop();
    fit.stop();
}
