//! The program itself: its settings, its signals, its exit codes.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::client::{AUTH, Client, event};

/// Nobody listens there: these tests are about what works without Kafka.
const NO_KAFKA: [(&str, &str); 2] = [("TAPI_KAFKA_PRIMARY", "127.0.0.1:1"), ("TAPI_KAFKA_SECONDARY", "127.0.0.1:2")];

pub(crate) fn tapi(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tapi"));
    command
        .args(arguments)
        .env_clear()
        .envs(NO_KAFKA)
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .stdout(Stdio::piped());
    command
}

pub(crate) fn output(command: &mut Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A running program; killed when dropped.
pub(crate) struct Program {
    pub(crate) child: Child,
    pub(crate) ingest: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Program {
    pub(crate) fn start(config: &Path, data: &Path) -> Self {
        Self::spawn(config, data, &[], &[])
    }

    /// With more arguments and variables.
    pub(crate) fn spawn(config: &Path, data: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut command = tapi(&["run", "--config", config.to_str().unwrap()]);
        Self::run(command.args(arguments).envs(variables.iter().copied()), data)
    }

    fn run(command: &mut Command, data: &Path) -> Self {
        let child = command
            .env("TAPI_LISTEN", "127.0.0.1:0")
            .env("TAPI_ADMIN_LISTEN", "127.0.0.1:0")
            .env("TAPI_DATA", data)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        Self::ready(child)
    }

    /// One that was spawned, once it serves.
    pub(crate) fn ready(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name)).unwrap().parse().unwrap();
        assert!(line.starts_with("tapi ready "), "{line}");
        Self { ingest: address("ingest="), admin: address("admin="), child }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end: the exit code, or none where it was killed.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Stops it, and all is well.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait(), Some(0));
    }

    pub(crate) fn post(&self, key: &str, id: &str) -> u16 {
        Client::connect(self.ingest).request(&format!("POST /v1/track?writeKey={key}"), "", event(id).as_bytes()).status
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn signals_reload_and_stop() {
    let dir = tempfile::tempdir().unwrap();
    let (config, data) = (dir.path().join("tapi.toml"), dir.path().join("data"));
    let sources = |key: &str| format!("[[sources]]\nid = \"web\"\nwrite_keys = [\"{key}\"]\n");
    std::fs::write(&config, sources("old")).unwrap();
    let mut program = Program::start(&config, &data);
    assert_eq!((program.post("old", "a"), program.post("new", "b")), (200, 401));
    assert_eq!(Client::connect(program.admin).request("GET /readyz", "", b"").status, 200);

    // Settings that are wrong change nothing; the next ones count.
    std::fs::write(&config, "[[sources]]\nid = 3\n").unwrap();
    program.signal(Signal::HUP);
    std::fs::write(&config, sources("new")).unwrap();
    program.signal(Signal::HUP);
    assert!((0..10_000).any(|_| program.post("new", "c") == 200), "the new key is let in at last");
    // Each thread hears of it in its own time.
    assert!((0..10_000).any(|_| program.post("old", "d") == 401), "the old key is refused at last");

    program.signal(Signal::TERM);
    assert_eq!(program.child.wait().unwrap().code(), Some(0));

    // What was answered with 200 is there after the restart, and is counted.
    let program = Program::start(&config, &data);
    let figures = Client::connect(program.admin).request("GET /metrics", "", b"").body;
    assert!(figures.contains("tapi_forward_usable{cluster=\"primary\"} 0"), "{figures}");
    assert_eq!(Client::connect(program.admin).request("POST /kafka/pin?cluster=secondary", "", b"").status, 200);
    assert_eq!(Client::connect(program.admin).request("POST /kafka/pin?cluster=third", "", b"").status, 400);
    assert_eq!(Client::connect(program.admin).request("POST /kafka/release", "", b"").status, 200);
    let backlog = figures.lines().find_map(|line| line.strip_prefix("local_buffer_backlog_records ")).unwrap();
    assert!(backlog.parse::<u64>().unwrap() >= 2, "{backlog}");
}

/// Whoever beside the owner and the group may do something with a file, or the group may write to it.
fn open_to_others(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        if mode & 0o027 != 0 {
            found.push(format!("{} {mode:o}", path.display()));
        }
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn clients_take_no_file_that_the_buffer_needs_and_others_read_none() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut limited = Command::new("/bin/sh");
    limited.args(["-c", "umask 0; ulimit -n 600; exec \"$0\" run", env!("CARGO_BIN_EXE_tapi")]);
    limited.env_clear().envs(NO_KAFKA).stdin(Stdio::null()).stdout(Stdio::piped());
    let program = Program::run(limited.env("TAPI_BUFFER_SEGMENT_BYTES", "262144"), &data);
    let clients: Vec<_> = (0..700)
        .map(|_| {
            let mut client = Client::connect(program.ingest);
            assert_eq!(client.request("POST /nowhere", "", b"").status, 404);
            client
        })
        .collect();
    // Files are made, while twice as many clients hold on as there are files.
    let padding = "p".repeat(30_000);
    let body = event("m").replacen('{', &format!(r#"{{"properties":{{"p":"{padding}"}},"#), 1);
    for _ in 0..40 {
        let mut client = Client::connect(program.ingest);
        assert_eq!(client.request("POST /v1/track", AUTH, body.as_bytes()).status, 200);
    }
    let figures = Client::connect(program.admin).request("GET /metrics", "", b"").body;
    assert!(figures.contains("\ntapi_connections_max 300\n"), "{figures}");
    assert!(figures.contains("\ntapi_connections_closed_total{reason=\"evicted\"} "), "{figures}");
    assert!(!figures.contains("tapi_accepts_failed_total 1"), "{figures}");
    assert_eq!(open_to_others(&data), [""; 0]);
    drop(clients);
}

#[test]
fn a_second_process_is_refused_by_the_buffer_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("tapi.toml");
    std::fs::write(&config, "").unwrap();
    let program = Program::start(&config, &dir.path().join("data"));
    let mut second = tapi(&["run"]);
    second.env("TAPI_DATA", dir.path().join("data")).env("TAPI_LISTEN", "127.0.0.1:0");
    let (code, _, stderr) = output(&mut second);
    assert_eq!(code, 1);
    assert!(stderr.contains("in use"), "{stderr}");

    let mut third = tapi(&["run"]);
    third.env("TAPI_DATA", dir.path().join("other")).env("TAPI_LISTEN", program.ingest.to_string());
    let (code, _, stderr) = output(&mut third);
    assert_eq!(code, 1);
    assert!(stderr.contains("change listen"), "{stderr}");
    assert_eq!(Client::connect(program.ingest).request("POST /v1/track", AUTH, event("m").as_bytes()).status, 200);
}

#[test]
fn check_config_says_what_is_wrong_or_what_is_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tapi.toml");
    let path = file.to_str().unwrap();
    std::fs::write(&file, "[buffer]\nbytes_mx = 1\n").unwrap();
    let (code, _, stderr) = output(&mut tapi(&["check-config", "--config", path]));
    assert_eq!(code, 2);
    assert!(stderr.contains("tapi.toml:2:1: buffer.bytes_mx") && stderr.contains("buffer.bytes_max?"), "{stderr}");

    let hidden = "[kafka.properties]\n\"sasl.password\" = \"hush\"\n";
    std::fs::write(&file, format!("{hidden}[[sources]]\nid = \"web\"\nwrite_keys = [\"hush\"]\n")).unwrap();
    let mut right = tapi(&["check-config", "--config", path]);
    let (code, stdout, stderr) = output(right.env("TAPI_LISTEN", "0.0.0.0:80").env("TAPI_LISTN", "x"));
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.lines().any(|line| line.starts_with("listen = \"0.0.0.0:80\"") && line.ends_with("# TAPI_LISTEN")));
    assert!(!stdout.contains("hush") && stdout.contains("\"web\""), "{stdout}");
    assert!(stderr.contains("TAPI_LISTN"), "{stderr}");
}

#[test]
fn wrong_usage_exits_with_2() {
    assert_eq!(output(&mut tapi(&[])).0, 2);
    assert_eq!(output(&mut tapi(&["fly"])).0, 2);
    let (code, stdout, _) = output(&mut tapi(&["--help"]));
    assert!(code == 0 && stdout.contains("TAPI_LISTEN"));
    assert_eq!(output(&mut tapi(&["--version"])).0, 0);
}
