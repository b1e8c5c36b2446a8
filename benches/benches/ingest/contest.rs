//! Servers that take turns under the same load: tapi and its floors, round after round.

use std::time::Duration;

use benches::disk::BareDisk;
use benches::load::{Client, Seen};
use benches::machine;
use benches::posts::Posts;
use benches::record::{Line, Rounds};
use benches::server::ServerProcess;
use benches::socket::Trust;

use crate::servers;

/// Turns of each comparison.
pub(crate) const TURNS: usize = 11;
/// Of each server in each turn.
pub(crate) const ROUND: Duration = Duration::from_secs(1);
/// Of tapi, and its buffer: twice what a round may write.
const WARM_UP: Duration = Duration::from_secs(3);
/// Written to the bare disk in each turn, and how many files that goes to.
const DISK_BYTES: u64 = 64 << 20;
const DISK_FILES: usize = 2;

/// What the clients do.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// As much as goes.
    Full,
    /// So many requests a second.
    At(f64),
}

/// A server, and who loads it.
pub(crate) struct Side {
    pub(crate) server: ServerProcess,
    pub(crate) client: Client,
}

/// What a server did in a round.
pub(crate) struct Round {
    pub(crate) seen: Seen,
    /// Processor time of a request, microseconds.
    pub(crate) cpu_us: f64,
}

/// One round of each, and of the disk.
pub(crate) struct Turn {
    pub(crate) tapi: Round,
    pub(crate) floors: Vec<Round>,
    written_mb_s: f64,
    disk_mb_s: f64,
}

/// tapi and its floors.
pub(crate) struct Contest {
    pub(crate) tapi: Side,
    floors: Vec<Side>,
    disk: BareDisk,
    written_bytes: u64,
}

impl Side {
    pub(crate) fn start(role: &str, connections: usize, posts: Posts, trust: Option<&Trust>) -> Self {
        let server = ServerProcess::start(role);
        let client = Client::with(server.address, connections, posts, trust);
        Self { server, client }
    }

    pub(crate) fn round(&mut self, load: Load, duration: Duration) -> Round {
        let before = machine::threads_time(self.server.id());
        let seen = match load {
            Load::Full => self.client.run(duration),
            Load::At(rate) => self.client.run_at(rate, duration),
        };
        let used = machine::threads_time(self.server.id()).saturating_sub(before);
        let cpu_us = used.as_secs_f64() * 1e6 / seen.requests as f64;
        Round { seen, cpu_us }
    }

    /// Takes out of tapi's buffer what was answered, all of it, and gives the bytes of all groups so far.
    pub(crate) fn drain(&mut self) -> u64 {
        let said = self.server.ask("drain");
        let (records, written) = said.split_once(' ').expect("records and bytes");
        assert_eq!(records.parse(), Ok(self.client.next_number()), "records in the buffer and answers are as many");
        written.parse().expect("bytes")
    }
}

impl Contest {
    /// Warms up.
    pub(crate) fn new(mut tapi: Side, mut floors: Vec<Side>) -> Self {
        for floor in &mut floors {
            floor.client.run(ROUND);
        }
        tapi.client.run(WARM_UP);
        let written_bytes = tapi.drain();
        let disk = BareDisk::new(servers::folder(), DISK_FILES, true);
        Self { tapi, floors, disk, written_bytes }
    }

    /// The rate that tapi reaches, requests a second.
    pub(crate) fn rate(&mut self) -> f64 {
        self.tapi_round(Load::Full).0.seen.rate()
    }

    pub(crate) fn turns(mut self, load: Load) -> Vec<Turn> {
        (0..TURNS)
            .map(|number| {
                // Who comes first changes.
                let early = (number % 2 == 1).then(|| self.tapi_round(load));
                let floors: Vec<_> = self.floors.iter_mut().map(|floor| floor.round(load, ROUND)).collect();
                let (tapi, written_mb_s) = early.unwrap_or_else(|| self.tapi_round(load));
                let turn = Turn { tapi, floors, written_mb_s, disk_mb_s: self.disk.speed(DISK_BYTES) };
                println!("{turn}");
                turn
            })
            .collect()
    }

    fn tapi_round(&mut self, load: Load) -> (Round, f64) {
        let round = self.tapi.round(load, ROUND);
        let before = std::mem::replace(&mut self.written_bytes, 0);
        // The space is free for the next round.
        self.written_bytes = self.tapi.drain();
        let written_mb_s = (self.written_bytes - before) as f64 / round.seen.elapsed.as_secs_f64() / 1e6;
        (round, written_mb_s)
    }
}

/// A line of the record.
pub(crate) fn line(name: &'static str, unit: &'static str, turns: &[Turn], of: impl Fn(&Turn) -> (f64, f64)) -> Line {
    Rounds { name, unit, rounds: turns.iter().map(of).collect() }.line()
}

/// What tapi wrote, beside what the disk takes.
pub(crate) fn disk_line(name: &'static str, turns: &[Turn]) -> Line {
    line(name, "MB/s", turns, |turn| (turn.written_mb_s, turn.disk_mb_s))
}

impl std::fmt::Display for Turn {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "tapi {}", self.tapi)?;
        for floor in &self.floors {
            write!(out, " | floor {floor}")?;
        }
        write!(out, " | {:.0} MB/s of the disk's {:.0}", self.written_mb_s, self.disk_mb_s)
    }
}

impl std::fmt::Display for Round {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (p50, p99) = (self.seen.percentile(0.50), self.seen.percentile(0.99));
        write!(out, "{:.0}/s, {:.2} us each, p50 {p50:.1?}, p99 {p99:.1?}", self.seen.rate(), self.cpu_us)
    }
}
