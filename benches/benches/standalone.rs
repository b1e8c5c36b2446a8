//! Row `standalone_end_to_end`: events a second of the whole of `turnstile`, from the first request to the last line of
//! the output, on both cores with the load beside it. Single events of 920 bytes, 256 connections kept alive. The figure
//! beside it is a bare hyper server with one thread under the same load, also on both cores.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use benches::bare;
use benches::load::Client;
use benches::record::{self, Row};
use benches::server::{self, ServerProcess};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONNECTIONS: usize = 256;
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

fn main() {
    if server::role().is_some() {
        server::serve_lines(bare::start(), |_| String::new());
        return;
    }
    let (mut rates, mut floors) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        rates.push(turnstile());
        let bare = ServerProcess::start("bare");
        floors.push(Client::connect(bare.address, CONNECTIONS, 0).run(ROUND).rate());
    }
    let (value, floor) = (median(rates), Some(median(floors)));
    record::keep(&[Row { name: "standalone_end_to_end", value, unit: "events/s", floor }]);
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One round on fresh data. Every event that was answered must be in the output once.
fn turnstile() -> f64 {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder on a disk");
    let server = Turnstile::start(folder.path());
    let mut client = Client::connect(server.ingest, CONNECTIONS, 0);
    let start = Instant::now();
    client.run(ROUND);
    while server.metric("local_buffer_backlog_records") > 0.0 {
        std::thread::sleep(POLL);
    }
    let elapsed = start.elapsed();
    let published = published(&folder.path().join("deduped"));
    assert_eq!(published, client.next_number(), "each answered event is in the output once");
    published as f64 / elapsed.as_secs_f64()
}

/// Lines of the output, each with a messageId of its own.
fn published(folder: &Path) -> u64 {
    let mut ids = HashSet::new();
    for entry in std::fs::read_dir(folder).expect("the output") {
        let file = std::fs::File::open(entry.expect("a file").path()).expect("a file");
        for line in BufReader::new(file).lines() {
            let line = line.expect("text");
            let start = benches::event::number_offset(line.as_bytes());
            assert!(ids.insert(line[start..start + benches::event::NUMBER_DIGITS].to_owned()), "doubled: {line}");
        }
    }
    ids.len() as u64
}

struct Turnstile {
    child: Child,
    ingest: SocketAddr,
    admin: SocketAddr,
}

impl Turnstile {
    fn start(data: &Path) -> Self {
        let mut command = Command::new(program());
        command.arg("run").env("TURNSTILE_DATA", data).env("TURNSTILE_LOG_FILTER", "warn");
        command.env("TURNSTILE_LISTEN", "127.0.0.1:0").env("TURNSTILE_ADMIN_LISTEN", "127.0.0.1:0");
        let mut child = command.stdout(Stdio::piped()).spawn().expect("turnstile starts");
        let mut ready = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut ready).expect("turnstile says that it is ready");
        let address = |name: &str| {
            let word = ready.split_whitespace().find_map(|word| word.strip_prefix(name));
            word.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("not a ready line: {ready:?}"))
        };
        Self { child, ingest: address("ingest="), admin: address("admin=") }
    }

    fn metric(&self, name: &str) -> f64 {
        let mut stream = TcpStream::connect(self.admin).expect("the admin port");
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no metric {name}"))
    }
}

impl Drop for Turnstile {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The program in the folder that this bench was built into; `make bench` builds it first.
fn program() -> PathBuf {
    let bench = std::env::current_exe().expect("the path of this executable");
    let folder = bench.parent().and_then(Path::parent).expect("the folder of the build");
    folder.join("turnstile")
}
