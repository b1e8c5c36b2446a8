//! The settings of `turnstile`.
//!
//! `turnstile.toml` beside this crate is the commented example; a test holds it to these structs.

use std::net::SocketAddr;
use std::path::PathBuf;

use ingest::Ports;
use serde::{Deserialize, Serialize};
use service::logging::Logging;
use service::{Access, Problem, Settings};

use crate::pipeline::Layout;

/// Names the step of a hand-over at which a test wants a crash.
pub(crate) const CRASH_VARIABLE: &str = "TURNSTILE_CRASH_AT";
/// Smallest size at which files are finished: below it a folder fills with names.
const FILE_BYTES_MIN: u64 = 1 << 20;
/// Fewer open digests than one batch can bring would seal at every batch.
const OPEN_DIGESTS_MIN: usize = 65_536;

/// What `turnstile run` can be told, in a file or by `TURNSTILE_` variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Address and port for events. Default `127.0.0.1:8080`; port 0 takes a free one; `[::]:8080` is every
    /// address of the host, IPv6 and IPv4. Several SDKs speak https only: give it a certificate with `tls`.
    pub listen: SocketAddr,
    /// Address and port for `/metrics`, `/healthz`, `/readyz` and the status page. Default `127.0.0.1:9090`; it has no
    /// login, so keep it away from the internet.
    pub admin_listen: SocketAddr,
    /// Directory of everything: local buffer, output, ledger, index. Default `./data`; made where it is missing, used
    /// by one process at a time.
    pub data: PathBuf,
    /// Who beside the owner may read what is stored, `data` and all below it. Default `group` (folders 0750, files 0640);
    /// `owner`, or `umask` for whatever the umask of the process lets.
    pub data_access: Access,
    /// Logs on stderr.
    pub log: Logging,
    /// Everything about taking events.
    #[serde(flatten)]
    pub ingest: ingest::Config,
    /// The output files.
    pub output: OutputFiles,
    /// The dedup index.
    pub dedup: Dedup,
}

/// The NDJSON files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputFiles {
    /// Size at which a file is finished and the next begun, bytes. Default 256 MiB, at least 1 MiB. Finished files are
    /// never deleted by this program.
    pub file_bytes_max: u64,
}

/// The dedup index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dedup {
    /// Identities kept in memory before they are sealed into a sorted run on disk. Default as the index's own; at least
    /// 65,536. More means fewer, larger runs and a longer replay at a start.
    pub open_digests_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            admin_listen: ([127, 0, 0, 1], 9090).into(),
            data: "./data".into(),
            data_access: Access::default(),
            log: Logging::default(),
            ingest: ingest::Config::default(),
            output: OutputFiles::default(),
            dedup: Dedup::default(),
        }
    }
}

impl Default for OutputFiles {
    fn default() -> Self {
        Self { file_bytes_max: 256 << 20 }
    }
}

impl Default for Dedup {
    fn default() -> Self {
        Self { open_digests_max: dedup::Options::default().open_digests_max }
    }
}

impl Settings for Config {
    const PREFIX: &'static str = "TURNSTILE";
    const OTHER_VARIABLES: &'static [&'static str] = &["TURNSTILE_CONFIG", CRASH_VARIABLE];
    const SECRETS: &'static [&'static str] = ingest::Config::SECRETS;

    fn data_access(&self) -> Access {
        self.data_access
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = self.ingest.problems();
        problems.extend(self.log.problem().map(|message| Problem::new("log.filter", message)));
        if self.output.file_bytes_max < FILE_BYTES_MIN {
            problems.push(Problem::new("output.file_bytes_max", format!("must be at least {FILE_BYTES_MIN}")));
        }
        if self.dedup.open_digests_max < OPEN_DIGESTS_MIN {
            problems.push(Problem::new("dedup.open_digests_max", format!("must be at least {OPEN_DIGESTS_MIN}")));
        }
        problems
    }
}

impl Config {
    /// Where it is to listen.
    pub fn ports(&self) -> Ports {
        Ports { listen: self.listen, admin_listen: self.admin_listen, threads: self.ingest.thread_count() }
    }

    /// Folder of the local buffer.
    pub fn buffer_dir(&self) -> PathBuf {
        self.data.join("buffer")
    }

    /// Where everything behind the buffer is.
    pub fn layout(&self) -> Layout {
        Layout { output_file_bytes_max: self.output.file_bytes_max, ..Layout::below(&self.data) }
    }

    /// Settings of the index.
    pub fn index_options(&self) -> dedup::Options {
        dedup::Options { open_digests_max: self.dedup.open_digests_max, ..dedup::Options::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_example_says_every_key_and_its_default() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("turnstile.toml");
        let example = service::config::load::<Config>(Some(&file), []).unwrap();
        assert_eq!(example.value, Config::default());
        let unsaid: Vec<_> = example.keys().into_iter().filter(|key| example.origin(key).is_default()).collect();
        assert_eq!(unsaid, ["sources", "tiers"], "they stand in the example as comments");
    }

    #[test]
    fn bounds_are_checked_by_name() {
        let mut config = Config::default();
        assert_eq!(config.problems(), []);
        config.output.file_bytes_max = FILE_BYTES_MIN - 1;
        config.dedup.open_digests_max = OPEN_DIGESTS_MIN - 1;
        let keys: Vec<_> = config.problems().iter().map(|problem| problem.key).collect();
        assert_eq!(keys, ["output.file_bytes_max", "dedup.open_digests_max"]);
    }
}
