//! The processes of a hand-over, on the data of one place, and a client that tries nothing twice.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// No start and no answer takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// A data folder.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn with_settings<'a>(&self, command: &'a mut Command, listen: &str) -> &'a mut Command {
        command
            .env_clear()
            .env("TURNSTILE_DATA", self.data())
            .env("TURNSTILE_BUFFER_SEGMENT_BYTES", "1048576")
            .env("TURNSTILE_ADMIN_LISTEN", "127.0.0.1:0")
            .env("TURNSTILE_LISTEN", listen)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
    }

    /// The program, once it serves.
    pub(crate) fn start(&self, arguments: &[&str]) -> Program {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
        Program::ready(self.with_settings(command.arg("run").args(arguments), "127.0.0.1:0").spawn().unwrap())
    }

    /// A next process that is to die at this step; how it ended.
    pub(crate) fn dies(&self, step: &str) -> Option<i32> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
        let command = self.with_settings(command.args(["run", "--take-over"]), "127.0.0.1:0");
        command.env("TURNSTILE_CRASH_AT", step).status().unwrap().code()
    }

    /// The program with this listener as its descriptor 3, once it serves.
    pub(crate) fn activated(&self, listener: &TcpListener) -> Program {
        let mut command = Command::new("/bin/sh");
        let run = r#"export LISTEN_PID=$$; exec "$0" run 3<&0 </dev/null"#;
        // Not where it listens: the socket that is handed in says that.
        let command = self
            .with_settings(command.args(["-c", run, env!("CARGO_BIN_EXE_turnstile")]), "127.0.0.1:1")
            .envs([("LISTEN_FDS", "1"), ("LISTEN_FDNAMES", "events")])
            .stdin(Stdio::from(OwnedFd::from(listener.try_clone().unwrap())));
        Program::ready(command.spawn().unwrap())
    }

    /// That each of these came out, and none twice. Nobody has the data.
    #[track_caller]
    pub(crate) fn assert_each_once(&self, ids: &[String]) {
        let files = fs::read_dir(self.data().join("deduped")).unwrap().map(|entry| entry.unwrap().path());
        let lines: String = files.map(|file| fs::read_to_string(file).unwrap()).collect();
        for id in ids {
            assert_eq!(lines.matches(&format!("\"messageId\":\"{id}\"")).count(), 1, "{id}");
        }
        assert_eq!(lines.lines().count(), ids.len());
    }
}

/// A running program; killed when dropped.
pub(crate) struct Program {
    child: Child,
    pub(crate) ingest: SocketAddr,
}

impl Program {
    fn ready(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("turnstile ready "), "{line}");
        let ingest = line.split_whitespace().find_map(|word| word.strip_prefix("ingest=")).unwrap().parse().unwrap();
        Self { child, ingest }
    }

    /// Waits for its end: the exit code.
    pub(crate) fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Stops it, and all is well.
    pub(crate) fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert_eq!(self.wait(), Some(0));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection on which an event was sent, and nothing was answered yet.
pub(crate) fn sent(address: SocketAddr, id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let body = format!(r#"{{"type":"track","event":"Seen","userId":"u","messageId":"{id}"}}"#);
    let head = "POST /v1/track?writeKey=KEY HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    stream
}

#[track_caller]
pub(crate) fn assert_stored(mut stream: TcpStream) {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
