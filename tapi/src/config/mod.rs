//! The settings of `tapi`.
//!
//! `tapi.toml` beside this crate is the commented example; a test holds it to these structs.

mod breaker;
mod drain;

use std::net::SocketAddr;
use std::path::PathBuf;

use ingest::Ports;
use serde::{Deserialize, Serialize};
use service::logging::Logging;
use service::{Access, Problem, Settings};

pub(crate) use drain::Kafka;

/// Names the step of a hand-over at which a test wants a crash.
pub(crate) const CRASH_VARIABLE: &str = "TAPI_CRASH_AT";

/// What `tapi run` can be told, in a file or by `TAPI_` variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    /// Address and port for events. Default `127.0.0.1:8080`; port 0 takes a free one; `[::]:8080` is every
    /// address of the host, IPv6 and IPv4. Several SDKs speak https only: give it a certificate with `tls`.
    pub listen: SocketAddr,
    /// Address and port for `/metrics`, `/healthz`, `/readyz` and the status page. Default `127.0.0.1:9090`; it has no
    /// login, so keep it away from the internet.
    pub admin_listen: SocketAddr,
    /// Directory of the local buffer. Default `./data/tapi`; made where it is missing, used by one process at a time.
    pub data: PathBuf,
    /// Who beside the owner may read what is stored, `data` and all below it. Default `group` (folders 0750, files 0640);
    /// `owner`, or `umask` for whatever the umask of the process lets.
    pub data_access: Access,
    /// The drain to Kafka.
    pub kafka: Kafka,
    /// Logs on stderr.
    pub log: Logging,
    /// Everything about taking events.
    #[serde(flatten)]
    pub ingest: ingest::Config,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            admin_listen: ([127, 0, 0, 1], 9090).into(),
            data: "./data/tapi".into(),
            data_access: Access::default(),
            kafka: Kafka::default(),
            log: Logging::default(),
            ingest: ingest::Config::default(),
        }
    }
}

impl Settings for Config {
    const PREFIX: &'static str = "TAPI";
    const OTHER_VARIABLES: &'static [&'static str] = &["TAPI_CONFIG", CRASH_VARIABLE];
    const SECRETS: &'static [&'static str] =
        &["write_keys", "properties", "primary_properties", "secondary_properties"];

    fn data_access(&self) -> Access {
        self.data_access
    }

    fn problems(&self) -> Vec<Problem> {
        let log = self.log.problem().map(|message| Problem::new("log.filter", message));
        self.ingest.problems().into_iter().chain(self.kafka.problems()).chain(log).collect()
    }
}

impl Config {
    /// Where it is to listen.
    pub(crate) fn ports(&self) -> Ports {
        Ports { listen: self.listen, admin_listen: self.admin_listen, threads: self.ingest.thread_count() }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use ingest::config::{SourceConfig, Tier};

    use super::*;

    fn example() -> service::Loaded<Config> {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tapi.toml");
        service::config::load::<Config>(Some(&file), []).unwrap()
    }

    #[test]
    fn the_example_says_every_key_and_its_default() {
        let example = example();
        assert_eq!(example.value, Config::default());
        let unsaid: Vec<_> = example.keys().into_iter().filter(|key| example.origin(key).is_default()).collect();
        assert_eq!(unsaid, ["sources", "tiers"], "they stand in the example as comments");
    }

    #[test]
    fn no_part_loses_its_secrets() {
        for secret in ingest::Config::SECRETS.iter().chain(Kafka::SECRETS) {
            assert!(Config::SECRETS.contains(secret), "{secret}");
        }
    }

    #[test]
    fn the_tiers_and_sources_of_the_example_can_be_used() {
        let text = include_str!("../../tapi.toml");
        let table = |header: &str| {
            let lines = text.lines().skip_while(|line| *line != header);
            lines.map_while(|line| line.strip_prefix("# ")).fold(String::new(), |all, line| all + line + "\n")
        };
        let sources = table("# [[tiers]]") + &table("# [[sources]]");
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, sources.as_bytes()).unwrap();
        let loaded = service::config::load::<Config>(Some(file.path()), []).unwrap();
        let tier = Tier {
            id: "default".into(),
            events_per_second: 1_000,
            burst_events: 5_000,
            events_per_day: 10_000_000,
            ..Tier::default()
        };
        assert_eq!(loaded.value.ingest.tiers, [tier]);
        let web = SourceConfig {
            id: "web".into(),
            write_keys: vec!["the-key-in-use".into(), "the-next-key".into()],
            tier: "default".into(),
            origins: vec!["https://shop.example".into(), "https://*.shop.example".into()],
        };
        assert_eq!(loaded.value.ingest.sources, [web]);
    }

    #[test]
    fn variables_reach_nested_keys() {
        let variables = [("TAPI_LISTEN", "0.0.0.0:80"), ("TAPI_BUFFER_BYTES_MAX", "1073741824")];
        let environment = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let loaded = service::config::load::<Config>(None, environment).unwrap();
        assert_eq!(loaded.value.listen, ([0, 0, 0, 0], 80).into());
        assert_eq!(loaded.value.ingest.buffer.bytes_max, 1 << 30);
        assert_eq!(loaded.value.ingest.tls, ingest::tls::Tls::default(), "no certificate, no TLS");
        assert_eq!(loaded.warnings, [""; 0]);
    }
}
