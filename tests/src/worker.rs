//! A `dedup-worker`, one of any number behind two Kafka clusters.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use crate::server::Server;
use crate::turnstile::free_address;
use crate::{Kafka, Scene};

/// The shortest that brokers allow: a worker that died is replaced after it.
const SESSION_TIMEOUT_MS: u32 = 6_000;
/// A transaction that a dead worker left open is ended by its successor long before.
const TRANSACTION_TIMEOUT_MS: u32 = 10_000;

/// A `dedup-worker`, running or not.
#[derive(Debug)]
pub struct Worker {
    server: Server,
    data: PathBuf,
}

impl Worker {
    /// One that reads these clusters and writes to the primary, with its index in a folder of its own; not started yet.
    pub fn new(scene: &Scene, kafka: &Kafka, name: &str) -> Self {
        let admin = free_address();
        let ready = format!("dedup-worker ready admin={admin}");
        let server = Server::new("dedup-worker", admin, ready, scene.folder().join(format!("{name}.log")));
        let data = scene.folder().join(name);
        Self { server, data: data.clone() }
            .set("DEDUP_ADMIN_LISTEN", admin)
            .set("DEDUP_DATA", data.display())
            .set("DEDUP_KAFKA_PRIMARY", kafka.primary.bootstrap())
            .set("DEDUP_KAFKA_SECONDARY", kafka.secondary.bootstrap())
            // Brokers that scenarios share remember a group's members for a session.
            .set("DEDUP_KAFKA_GROUP", scene.folder().file_name().unwrap_or_default().to_string_lossy())
            .set("DEDUP_KAFKA_SESSION_TIMEOUT_MS", SESSION_TIMEOUT_MS)
            .set("DEDUP_KAFKA_TRANSACTION_TIMEOUT_MS", TRANSACTION_TIMEOUT_MS)
    }

    /// Sets a configuration value, by the name of its environment variable.
    #[must_use]
    pub fn set(mut self, variable: &str, value: impl ToString) -> Self {
        self.server.configure(variable, value);
        self
    }

    /// Makes it one that leaves the group for good when it is stopped; else its lanes wait for it to come back.
    pub fn leaving(&mut self) -> &mut Self {
        self.server.option("--leave");
        self
    }

    /// Lanes through which records flow; none where it does not answer.
    pub fn lanes(&self) -> u32 {
        self.metrics().ok().and_then(|metrics| metrics.sum("dedup_lanes_running")).map_or(0, |count| count as u32)
    }

    /// Whether `dedup-worker status`, with its settings, shows every lane, and none with records to be read.
    pub fn sees_nothing_wait(&self, lanes: u32) -> bool {
        self.command(&["status"]).is_ok_and(|status| nothing_waits(&status, lanes))
    }

    /// The folder of its index.
    pub fn data(&self) -> &Path {
        &self.data
    }
}

impl Deref for Worker {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Worker {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// Whether a status shows every lane, and none with records to be read from either input.
pub fn nothing_waits(status: &str, lanes: u32) -> bool {
    let rows = status.lines().filter(|line| line.split_whitespace().next().is_some_and(|n| n.parse::<u32>().is_ok()));
    let all: Vec<bool> = rows.map(|row| row.split_whitespace().rev().take(2).all(|lag| lag == "0")).collect();
    all.len() == lanes as usize && all.iter().all(|is_read| *is_read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LANES;

    #[test]
    fn what_waits_is_read_off_the_status() {
        let row = |n: u32, lags: &str| format!("{n:>5}      #1          24        0 h           0 s  {lags}\n");
        let all = |last: &str| {
            let first: String = (0..LANES - 1).map(|n| row(n, "0  0")).collect();
            nothing_waits(&format!("group g: 1 workers\n{first}{}worker: ready\n", row(LANES - 1, last)), LANES)
        };
        assert!(all("0                 0"));
        for waits in ["12 (3 s)  0", "0  12", "0  away", "away  0"] {
            assert!(!all(waits), "{waits}");
        }
        assert!(!nothing_waits(&row(0, "0  0"), LANES), "lanes are missing");
    }
}
