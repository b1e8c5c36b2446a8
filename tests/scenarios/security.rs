//! Goal: the whole system works on clusters that take nobody without TLS and a password, and says what is wrong where it
//! does not; secrets stay secret.
//! Fault: a wrong password, a certificate that nobody vouches for, a secret that is not where it should be.
//! Oracle: `loadtest verify` through the same door; exit codes and advice; every log and page searched for the secrets.

use std::fs;
use std::path::Path;
use std::time::Duration;

use tests::load::{self, Load};
use tests::secure::{Authority, SecureKafka, USER};
use tests::{LANES, Program, Scene, Server, Tapi, Worker, chaos, http, topic, wait};
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED};

/// Longest wait for a load, and for what it brings.
const LIMIT: Duration = Duration::from_mins(2);
const SETTLE: Duration = Duration::from_secs(1);
/// Passwords, unlike anything else that is ever printed.
const SCRAM: &str = "scram-Xk29vQpLw7";
const PLAIN: &str = "plain-Zr83mTnBc5";
const WRONG: &str = "wrong-Jd46hYfGs1";

#[test]
fn clusters_behind_tls_and_passwords_are_used_by_every_program_and_no_secret_is_printed() {
    let scene = Scene::begin();
    let (authority, stranger) = (Authority::new(&scene, "authority"), Authority::new(&scene, "stranger"));
    let secure = SecureKafka::start(&scene, &authority, SCRAM, PLAIN);
    for cluster in [&secure.kafka.primary, &secure.kafka.secondary] {
        let topics = [EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED];
        topic::make_anew(cluster.address, &topics, &[]);
    }
    let files = scene.folder().join("secrets");
    fs::create_dir_all(&files).expect("a folder");
    for (name, secret) in [("scram", SCRAM), ("wrong", WRONG)] {
        fs::write(files.join(name), format!("{secret}\n")).expect("written");
    }
    let door = Door { authority: authority.certificate(), scram: files.join("scram"), secure: &secure };

    let mut tapi = Tapi::new(&scene, &secure.kafka);
    door.give(&mut tapi, "TAPI");
    tapi.start();
    let mut worker = Worker::new(&scene, &secure.kafka, "worker");
    door.give(&mut worker, "DEDUP");
    worker.start();
    let load = Load::new(&scene, 0, 2_000, Duration::from_secs(if chaos() { 20 } else { 4 }));
    let mut client = load.start_at(tapi.ingest);
    // Through the door of each: one half to the secondary.
    let flows = |cluster: &str| {
        let label = format!("cluster=\"{cluster}\"");
        wait::until("records flow", LIMIT, || {
            (tapi.metrics().ok()?.sum_where("tapi_forward_records_total", &label)? > 1_000.0).then_some(())
        });
    };
    flows("primary");
    let pin = http::post(tapi.admin, "/kafka/pin?cluster=secondary", "", b"").expect("an answer");
    assert_eq!(pin.status, 200);
    flows("secondary");
    client.succeed(LIMIT);
    tapi.drained();
    wait::until("the worker reads all that waits", LIMIT, || worker.sees_nothing_wait(LANES).then_some(()));
    let output = format!("kafka://{}/{EVENTS_DEDUPED}", secure.primary);
    let properties = door.properties();
    let mut words = vec!["--output", &output];
    words.extend(properties.iter().flat_map(|property| ["--kafka-property", property]));
    let verdict = load::verify_at(&scene, &[tapi.admin], &words, SETTLE, std::slice::from_ref(&load), 0.0);
    scene.say(format_args!("through TLS with SCRAM-SHA-512, and with PLAIN: {verdict}"));

    // The commands that work beside a worker, and instead of one.
    let mut ids = Vec::new();
    topic::read(secure.kafka.primary.address, EVENTS_DEDUPED, |_, key, _| ids.push(key.to_vec()));
    let id = String::from_utf8(ids.swap_remove(0)).expect("text");
    let mut said = vec![worker.command(&["status"]).expect("a status")];
    assert!(worker.stop().success());
    for words in [&["rebuild"][..], &["verify"], &["lookup", "loadtest", &id]] {
        said.push(worker.command(words).unwrap_or_else(|said| panic!("{words:?}: {said}")));
    }
    assert!(said.last().is_some_and(|said| said.contains(EVENTS_DEDUPED)), "{said:?}");
    said.extend(["/", "/metrics"].map(|path| http::get(tapi.admin, path).expect("a page").text()));

    // Each refusal says which property to look at.
    let wrong = Door { scram: files.join("wrong"), ..door.clone() };
    let untrusted = Door { authority: stranger.certificate(), ..door.clone() };
    for (name, door, advice) in [("wrong", wrong, "sasl.password"), ("untrusted", untrusted, "ssl.ca.location")] {
        let mut host = Tapi::named(&scene, &secure.kafka, &format!("tapi-{name}"));
        door.give(&mut host, "TAPI");
        host.start();
        host.says(advice);
        let mut worker = Worker::new(&scene, &secure.kafka, &format!("worker-{name}"));
        door.give(&mut worker, "DEDUP");
        let refusal = worker.command(&["status"]).expect_err("nobody lets it in");
        assert!(refusal.contains(advice), "{refusal}");
        said.push(refusal);
        worker.start();
        worker.says(advice);
        assert!(worker.stop().success() && host.stop().success());
        let mut command = Program::command("loadtest");
        command.arg("verify").arg("--ledger").arg(load.ledger()).args(["--output", &output]);
        command.args(door.properties().iter().flat_map(|property| ["--kafka-property", property]));
        let refusal = command.output().expect("loadtest can be started");
        let printed = String::from_utf8_lossy(&[refusal.stdout, refusal.stderr].concat()).into_owned();
        assert!(refusal.status.code() == Some(1) && printed.contains(advice), "{printed}");
        said.push(printed);
    }
    let nowhere = Door { scram: files.join("nowhere"), ..door.clone() };
    let mut host = Tapi::named(&scene, &secure.kafka, "tapi-nowhere");
    nowhere.give(&mut host, "TAPI");
    assert!(!host.refuses().success());
    assert!(host.printed().contains("sasl.password") && host.printed().contains("nowhere"), "{}", host.printed());
    assert!(tapi.stop().success());

    let logs = fs::read_dir(scene.folder()).expect("the scenario's folder").flatten();
    let logs = logs.filter(|entry| entry.path().extension().is_some_and(|extension| extension == "log"));
    said.extend(logs.map(|log| String::from_utf8_lossy(&fs::read(log.path()).expect("a log")).into_owned()));
    scene.say(format_args!("{} logs, pages and outputs searched for {} secrets", said.len(), 3));
    for secret in [SCRAM, PLAIN, WRONG] {
        let leak = said.iter().find(|said| said.contains(secret));
        assert!(leak.is_none(), "a secret was printed: {}", leak.expect("found"));
    }
}

/// How the clusters are entered.
#[derive(Debug, Clone)]
struct Door<'a> {
    authority: std::path::PathBuf,
    scram: std::path::PathBuf,
    secure: &'a SecureKafka,
}

impl Door<'_> {
    /// The settings of a program with this prefix: the primary with a password in a file, the secondary with one in the
    /// environment.
    fn give(&self, server: &mut Server, prefix: &str) {
        let quoted = |path: &Path| format!("\"{}\"", path.display());
        let mut set = |name: &str, value: String| server.configure(&format!("{prefix}_KAFKA_{name}"), value);
        set("PRIMARY", self.secure.primary.to_string());
        set("SECONDARY", self.secure.secondary.to_string());
        let authority = quoted(&self.authority);
        set(
            "PROPERTIES",
            format!(
                r#"{{"security.protocol" = "SASL_SSL", "ssl.ca.location" = {authority}, "sasl.username" = "{USER}"}}"#
            ),
        );
        let password = format!("\"file:{}\"", self.scram.display());
        let scram = format!(r#"{{"sasl.mechanisms" = "SCRAM-SHA-512", "sasl.password" = {password}}}"#);
        set("PRIMARY_PROPERTIES", scram);
        let plain = r#"{"sasl.mechanisms" = "PLAIN", "sasl.password" = "env:THE_PLAIN_SECRET"}"#;
        set("SECONDARY_PROPERTIES", plain.to_owned());
        server.configure("THE_PLAIN_SECRET", PLAIN);
    }

    /// The same of the primary for `loadtest`.
    fn properties(&self) -> Vec<String> {
        vec![
            "security.protocol=SASL_SSL".to_owned(),
            format!("ssl.ca.location={}", self.authority.display()),
            "sasl.mechanisms=SCRAM-SHA-512".to_owned(),
            format!("sasl.username={USER}"),
            format!("sasl.password=file:{}", self.scram.display()),
        ]
    }
}
