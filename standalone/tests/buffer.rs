//! `turnstile buffer` as a person on call uses it: the real program on the folder in which it keeps its own events. What
//! each tool does in every case is tested where `tapi` offers the same ones.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::{fs, process};

use local_buffer::{Batch, Options, Queue, RecordId};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;
use wire::envelope::begin_event;
use wire::{MessageId, SourceId};

const SEGMENT_BYTES: u64 = 1 << 20;

/// A data folder of turnstile, and the program on it.
struct Stage {
    root: TempDir,
}

impl Stage {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap() }
    }

    /// The same with a buffer in it, whose events `m-0`, `m-1`, … wait. The first of them nobody took.
    fn with_events(events: u64) -> Self {
        let stage = Self::new();
        fs::create_dir(stage.data()).unwrap();
        let options = Options { segment_bytes: SEGMENT_BYTES, bytes_max: 64 << 20, ..Options::default() };
        let (mut queue, _) = Queue::open(stage.buffer(), options).unwrap();
        let appender = queue.appender();
        for number in 0..events {
            appender.append(&record(&format!("m-{number}"))).unwrap().wait(&appender).unwrap();
        }
        let (mut reader, mut batch) = (queue.take_reader().unwrap(), Batch::new());
        reader.read(&mut batch, 1, 1).unwrap();
        for (id, bytes) in batch.iter() {
            reader.quarantine(id, bytes, "tried in vain").unwrap();
        }
        reader.acknowledge(RecordId::from_u64(1)).unwrap();
        drop(reader);
        queue.close().unwrap();
        stage
    }

    fn data(&self) -> PathBuf {
        self.root.path().join("data")
    }

    fn buffer(&self) -> PathBuf {
        self.data().join("buffer")
    }

    /// The program, with its settings in the environment.
    fn turnstile(&self, arguments: &[&str]) -> Command {
        let mut command = turnstile(arguments);
        command
            .env("TURNSTILE_DATA", self.data())
            .env("TURNSTILE_LISTEN", "127.0.0.1:0")
            .env("TURNSTILE_ADMIN_LISTEN", "127.0.0.1:0")
            .env("TURNSTILE_BUFFER_SEGMENT_BYTES", SEGMENT_BYTES.to_string());
        command
    }

    /// Runs a tool to its end, on the buffer of the settings.
    fn tool(&self, arguments: &[&str]) -> (i32, String, String) {
        output(&mut self.turnstile(&[&["buffer"], arguments].concat()))
    }

    /// The same, with its JSON: a value for each line.
    fn json(&self, arguments: &[&str]) -> (i32, Vec<Value>) {
        let (code, stdout, _) = self.tool(&[arguments, &["--json"]].concat());
        (code, stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    }

    /// Flips a bit of an event in the buffer.
    fn damage(&self, message_id: &str) {
        let wanted = format!("\"{message_id}\"");
        for entry in fs::read_dir(self.buffer().join("segments")).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs::read(&path).unwrap();
            if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes()) {
                bytes[at] ^= 1;
                return fs::write(&path, bytes).unwrap();
            }
        }
        panic!("{message_id} is in no segment");
    }

    /// The messageIds of the output.
    fn deduped(&self) -> Vec<String> {
        let files = fs::read_dir(self.data().join("deduped")).unwrap().map(|entry| entry.unwrap().path());
        let text: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.map(|line| line["messageId"].as_str().unwrap().to_owned()).collect()
    }
}

fn turnstile(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    command.args(arguments).env_clear().stdin(Stdio::null()).stderr(Stdio::piped()).stdout(Stdio::piped());
    command
}

fn output(command: &mut Command) -> (i32, String, String) {
    let process::Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// The record of an event, as the ingest makes it.
fn record(message_id: &str) -> Vec<u8> {
    let (source, id) = (SourceId::try_new(b"web").unwrap(), MessageId::try_new(message_id.as_bytes()).unwrap());
    let mut record = Vec::new();
    let received_at = jiff::Timestamp::now();
    begin_event(&mut record, source, id, received_at.as_millisecond());
    let value = format!(
        r#"{{"type":"track","messageId":"{message_id}","timestamp":"{received_at:.3}","source":"web","receivedAt":"{received_at:.3}"}}"#
    );
    record.extend_from_slice(value.as_bytes());
    record
}

/// `turnstile run`; killed when dropped.
struct Server {
    child: Child,
    ingest: SocketAddr,
}

impl Server {
    fn start(stage: &Stage) -> Self {
        let mut child = stage.turnstile(&["run"]).stderr(Stdio::inherit()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("turnstile ready "), "{line}");
        let ingest = line.split_whitespace().find_map(|word| word.strip_prefix("ingest=")).unwrap().parse().unwrap();
        Self { child, ingest }
    }

    /// Posts an event, and waits for the answer that it is durable.
    fn post(&self, message_id: &str) {
        let body = format!(r#"{{"type":"track","event":"Seen","userId":"u","messageId":"{message_id}"}}"#);
        let head = "POST /v1/track?writeKey=web HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let mut stream = TcpStream::connect(self.ingest).unwrap();
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut status_line = String::new();
        BufReader::new(stream).read_line(&mut status_line).unwrap();
        assert!(status_line.starts_with("HTTP/1.1 200 "), "{status_line}");
    }

    /// SIGTERM: everything goes through to the output first.
    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_buffer_at_work_is_looked_at_and_not_changed() {
    let stage = Stage::new();
    let server = Server::start(&stage);
    server.post("m-1");
    let (code, seen) = stage.json(&["inspect"]);
    assert_eq!((code, &seen[0]["in_use"], &seen[0]["pid"]), (0, &json!("yes"), &json!(server.child.id())));
    assert_eq!((&seen[0]["program"], &seen[0]["next_id"]), (&json!("turnstile"), &json!(1)));
    let (code, lines) = stage.json(&["dump", "--all"]);
    assert_eq!((code, lines.len(), &lines[0]["messageId"], &lines[0]["source"]), (0, 1, &json!("m-1"), &json!("web")));
    assert_eq!(stage.json(&["verify"]).0, 0);
    let user = format!("is in use by turnstile, pid {}", server.child.id());
    for arguments in [&["repair"][..], &["repair", "--floor", "1"], &["reinject", "--all"]] {
        let (code, stdout, stderr) = stage.tool(arguments);
        assert!(code == 1 && stderr.contains(&user), "{arguments:?}: {stdout} {stderr}");
    }
    // Killed, it uses nothing any more.
    drop(server);
    assert_eq!(stage.json(&["inspect"]).1[0]["in_use"], "no");
    assert_eq!(stage.tool(&["repair"]).0, 0);
    Server::start(&stage).stop();
    assert_eq!(stage.deduped(), ["m-1"]);
}

#[test]
fn what_was_set_aside_is_put_back_and_comes_out_once() {
    let stage = Stage::with_events(3);
    let (code, aside) = stage.json(&["dump", "--quarantine"]);
    assert_eq!((code, &aside[0]["messageId"], &aside[0]["reason"]), (0, &json!("m-0"), &json!("tried in vain")));
    let (code, done) = stage.json(&["reinject", "--all"]);
    assert_eq!((code, &done[0]["records"], &done[0]["refused_files"]), (0, &json!(1), &json!(0)));
    Server::start(&stage).stop();
    assert_eq!(stage.deduped(), ["m-1", "m-2", "m-0"]);
    let (code, seen) = stage.json(&["inspect"]);
    assert_eq!((code, &seen[0]["undrained_records"]), (0, &json!(0)));
}

#[test]
fn damage_is_told_of_and_repaired_in_turnstiles_name() {
    let stage = Stage::with_events(3);
    stage.damage("m-1");
    let (dir, told) =
        (stage.buffer(), |stderr: &str, advice: &str| stderr.contains(advice) && !stderr.contains("tapi"));
    let (code, _, stderr) = stage.tool(&["verify"]);
    assert!(code == 1 && told(&stderr, &format!("`turnstile buffer repair {} --dry-run`", dir.display())), "{stderr}");
    let (code, _, stderr) = stage.tool(&["dump"]);
    assert!(code == 1 && told(&stderr, &format!("`turnstile buffer verify {}`", dir.display())), "{stderr}");
    assert_eq!(stage.tool(&["repair"]).0, 0);
    assert_eq!(stage.tool(&["verify"]).0, 0);
    Server::start(&stage).stop();
    assert_eq!(stage.deduped(), ["m-2"], "the damaged event is set aside, and with it nothing else");
}

#[test]
fn the_buffer_is_that_of_the_settings_wherever_they_are() {
    let stage = Stage::with_events(3);
    let file = stage.root.path().join("turnstile.toml");
    fs::write(&file, format!("data = {:?}\n", stage.data())).unwrap();
    let (file, buffer) = (file.to_str().unwrap(), stage.buffer());
    let looked = |command: &mut Command| {
        let (code, stdout, stderr) = output(command);
        assert!(code == 0 && stdout.contains("\"next_id\":3"), "{stdout} {stderr}");
    };
    looked(&mut stage.turnstile(&["buffer", "inspect", "--json"]));
    looked(&mut turnstile(&["buffer", "inspect", "--json", "--config", file]));
    looked(&mut turnstile(&["buffer", "--config", file, "inspect", "--json"]));
    looked(turnstile(&["buffer", "inspect", "--json"]).env("TURNSTILE_CONFIG", file));
    looked(turnstile(&["buffer", "inspect", "--json", "--config", file]).env("TURNSTILE_CONFIG", "/nowhere"));
    // One that is named needs no settings, not even right ones.
    let named = &["buffer", "inspect", buffer.to_str().unwrap(), "--json"];
    looked(turnstile(named).env("TURNSTILE_LISTEN", "x"));
    let (code, _, stderr) = output(turnstile(&["buffer", "inspect"]).env("TURNSTILE_LISTEN", "x"));
    assert!(code == 2 && stderr.contains("TURNSTILE_LISTEN"), "{stderr}");
    // The data folder is not yet the buffer's.
    let (code, _, stderr) = output(&mut turnstile(&["buffer", "verify", stage.data().to_str().unwrap()]));
    assert!(code == 2 && stderr.contains(&format!("did you mean {}", buffer.display())), "{stderr}");
    assert_eq!(output(&mut turnstile(&["buffer"])).0, 2);
}

#[test]
fn the_help_speaks_of_turnstile_and_its_folders() {
    for tool in [&[][..], &["inspect"], &["verify"], &["dump"], &["repair"], &["reinject"]] {
        let (code, help, _) = output(&mut turnstile(&[&["buffer"], tool, &["--help"]].concat()));
        assert_eq!(code, 0, "{tool:?}");
        assert!(help.contains("\n  turnstile buffer ") && help.contains("TURNSTILE_CONFIG"), "{tool:?}: {help}");
        assert!(!help.contains("tapi") && !help.contains("TAPI"), "{tool:?}: {help}");
    }
    let (_, help, _) = output(&mut turnstile(&["buffer", "--help"]));
    let folders = ["/var/lib/turnstile/buffer", "TURNSTILE_DATA/buffer, by default ./data/buffer."];
    assert!(folders.iter().all(|folder| help.contains(folder)), "{help}");
    assert!(Path::new("./data/buffer") == standalone::config::Config::default().buffer_dir());
}
