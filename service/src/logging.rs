//! Structured logs: a constant sentence plus fields, on stderr.

use std::io::IsTerminal as _;

use serde::{Deserialize, Serialize};
use tracing_subscriber::EnvFilter;

/// The levels of a filter, from silence to everything.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// How and what to log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Logging {
    /// Shape of a line: `auto` (text on a terminal, JSON otherwise), `text` or `json`.
    pub format: Format,
    /// What is logged: a level (`error`, `warn`, `info`, `debug`, `trace`), or levels by module as in
    /// `info,tapi=debug`. Default `info`.
    pub filter: String,
}

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text where stderr is a terminal, JSON where it is not.
    Auto,
    /// One line of text.
    Text,
    /// One JSON object a line.
    Json,
}

impl Default for Logging {
    fn default() -> Self {
        Self { format: Format::Auto, filter: "info".into() }
    }
}

impl Logging {
    /// What is wrong with the filter, if anything.
    pub fn problem(&self) -> Option<String> {
        // A word alone would be taken for the name of a module, and everything else be silent.
        let is_module =
            |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        let is_level = |part: &&str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part));
        let mut parts = self.filter.split(',').map(str::trim);
        if let Some(part) = parts.find(|part| is_module(part) && !is_level(part)) {
            let levels = LEVELS.join(", ");
            return Some(format!(
                "`{part}` is no level; one of {levels}, or a level for a module as in `{part}=debug`"
            ));
        }
        EnvFilter::try_new(&self.filter).err().map(|error| format!("not a log filter ({error}); try `info`"))
    }
}

/// Sends this process's logs to stderr. A second call changes nothing, which suits tests.
pub fn init(logging: &Logging) {
    let filter = EnvFilter::try_new(&logging.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let json = match logging.format {
        Format::Auto => !terminal,
        Format::Text => false,
        Format::Json => true,
    };
    let _ = if json { builder.json().flatten_event(true).try_init() } else { builder.with_ansi(terminal).try_init() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_checked_before_it_is_used() {
        assert_eq!(Logging::default().problem(), None);
        let wrong = Logging { filter: "tapi=loud".into(), ..Logging::default() };
        assert!(wrong.problem().unwrap().contains("not a log filter"));
        let problem = |filter: &str| Logging { filter: filter.into(), ..Logging::default() }.problem();
        for wrong in ["degub", "info,tapi", " Degub ", "tapi=debug,loud"] {
            assert!(problem(wrong).unwrap().contains("is no level"), "{wrong}");
        }
        for right in ["debug", "WARN", "info,tapi=debug", "tapi::forward=trace", "off"] {
            assert_eq!(problem(right), None, "{right}");
        }
    }
}
