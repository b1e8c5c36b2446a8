//! Listeners that are there before the process, as systemd hands them in.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// No start and no answer takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program with this listener as its descriptor 3, once it serves.
fn activated(data: &Path, listener: &TcpListener) -> Child {
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", r#"export LISTEN_PID=$$; exec "$0" run 3<&0 </dev/null"#, env!("CARGO_BIN_EXE_turnstile")])
        .env_clear()
        .envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "events"), ("TURNSTILE_ADMIN_LISTEN", "127.0.0.1:0")])
        // Not where it listens: the socket that is handed in says that.
        .envs([("TURNSTILE_LISTEN", "127.0.0.1:1"), ("TURNSTILE_BUFFER_SEGMENT_BYTES", "1048576")])
        .env("TURNSTILE_DATA", data)
        .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())))
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = listener.local_addr().unwrap();
    assert!(line.starts_with(&format!("turnstile ready ingest={address} ")), "{line}");
    child
}

/// A connection on which an event was sent, and nothing was answered yet.
fn sent(address: SocketAddr, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = format!(r#"{{"type":"track","event":"Seen","userId":"u","messageId":"{id}"}}"#);
    let head = "POST /v1/track?writeKey=KEY HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    stream
}

fn assert_stored(mut stream: TcpStream) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

/// Goal: a restart refuses nobody. Fault: there is no process for a while. Oracle: a client that connects and sends then
/// gets its 200 from the next one, and each event comes out once.
#[test]
fn a_client_that_comes_between_two_processes_waits_for_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for round in 0..2 {
        let early = sent(address, &format!("between-{round}"));
        let mut child = activated(dir.path(), &listener);
        assert_stored(early);
        assert_stored(sent(address, &format!("after-{round}")));
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
    let files = fs::read_dir(dir.path().join("deduped")).unwrap().map(|entry| entry.unwrap().path());
    let lines: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
    for id in ["between-0", "after-0", "between-1", "after-1"] {
        assert_eq!(lines.matches(&format!("\"messageId\":\"{id}\"")).count(), 1, "{id}: {lines}");
    }
}
