//! One struct of settings, filled from three places: its defaults, then a TOML file, then the environment.
//!
//! The struct itself is the only list of settings. Serialising its default gives every key there is, and with it the
//! name of the variable that overrides it: prefix and path, upper case, joined by `_`, so that with the prefix `TAPI`
//! the key `buffer.bytes_max` is `TAPI_BUFFER_BYTES_MAX`.
//!
//! Each value is put in one at a time and the whole read again, so that a fault always names its own place: file, line
//! and column, or variable. Every fault is reported, not only the first. A key nobody knows is a fault, with the nearest
//! known one; a variable nobody knows is a warning, because other programs share the environment.

mod describe;
mod environment;
mod file;
mod properties;
mod tree;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use environment::process_environment;
pub use properties::{Properties, Unresolved, secret};

use crate::Access;

/// A struct of settings. Every field must have a default and be serialised; a nested struct is a table of the file.
pub trait Settings: Serialize + DeserializeOwned + Default {
    /// First part of the variables' names, upper case, without the `_`.
    const PREFIX: &'static str;
    /// Variables with this prefix that are no settings, so that nobody is warned of them.
    const OTHER_VARIABLES: &'static [&'static str] = &[];
    /// Names of keys whose values are never printed.
    const SECRETS: &'static [&'static str] = &[];

    /// Who may read what the process stores.
    fn data_access(&self) -> Access {
        Access::default()
    }

    /// What is wrong with the values that the types alone cannot say: bounds, and what does not go together.
    fn problems(&self) -> Vec<Problem> {
        Vec::new()
    }
}

/// One thing that is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key, dotted.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Problem {
    /// A problem with the value of a key.
    pub fn new(key: &'static str, message: impl Into<String>) -> Self {
        Self { key, message: message.into() }
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// Line and column of the file, from 1.
    File {
        /// As it was given.
        file: PathBuf,
        /// From 1.
        line: usize,
        /// From 1, in characters.
        column: usize,
    },
    /// The variable of this name.
    Variable(String),
}

impl Origin {
    /// Whether nobody said anything.
    pub fn is_default(&self) -> bool {
        *self == Self::Default
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File { file, line, column } => write!(out, "{}:{line}:{column}", file.display()),
            Self::Variable(name) => out.write_str(name),
        }
    }
}

/// One thing that keeps the settings from being used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where to change something.
    pub origin: Origin,
    /// The key, dotted; empty where there is none, as in a syntax error.
    pub key: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { origin, key, message } = self;
        if key.is_empty() { write!(out, "{origin}: {message}") } else { write!(out, "{origin}: {key}: {message}") }
    }
}

/// Why the settings cannot be used: each fault on its own line. The caller shows them and ends with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub faults: Vec<Fault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the configuration cannot be used")?;
        self.faults.iter().try_for_each(|fault| write!(out, "\n  {fault}"))
    }
}

impl std::error::Error for ConfigError {}

/// Settings that can be used, and where each came from.
#[derive(Debug)]
pub struct Loaded<T> {
    /// The settings.
    pub value: T,
    /// Sentences for the log: variables that look like settings and are none.
    pub warnings: Vec<String>,
    tree: Value,
    origins: BTreeMap<String, Origin>,
}

/// Reads the settings.
///
/// # Errors
/// Every fault of the file, the variables and the values together.
pub fn load<T: Settings>(
    file: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Loaded<T>, ConfigError> {
    let mut merge = Merge::<T>::new();
    if let Some(file) = file {
        match std::fs::read_to_string(file) {
            Ok(text) => merge.file(file, &text),
            Err(error) => {
                let origin = Origin::File { file: file.into(), line: 1, column: 1 };
                merge.fault(origin, "", format!("cannot be read: {error}"));
            }
        }
    }
    merge.environment(environment);
    merge.finish()
}

/// The settings on their way: the tree always reads as a `T`.
struct Merge<T> {
    value: T,
    tree: Value,
    /// The tree of defaults: which keys there are, and of what kind.
    known: Value,
    origins: BTreeMap<String, Origin>,
    faults: Vec<Fault>,
    warnings: Vec<String>,
}

impl<T: Settings> Merge<T> {
    fn new() -> Self {
        let value = T::default();
        let tree = serde_json::to_value(&value).expect("settings serialise: keys are text, numbers are finite");
        let known = tree.clone();
        Self { value, tree, known, origins: BTreeMap::new(), faults: Vec::new(), warnings: Vec::new() }
    }

    fn fault(&mut self, origin: Origin, key: &str, message: String) {
        self.faults.push(Fault { origin, key: key.into(), message });
    }

    fn file(&mut self, file: &Path, text: &str) {
        let (entries, faults) = file::parse(file, text, &self.known);
        self.faults.extend(faults);
        for entry in entries {
            self.put(entry.origin, &entry.key, [entry.value]);
        }
    }

    fn environment(&mut self, environment: impl IntoIterator<Item = (String, String)>) {
        let names = tree::variables(T::PREFIX, &self.known);
        let prefix = format!("{}_", T::PREFIX);
        // In the order of their names, so that the faults are in an order.
        let mine: BTreeMap<_, _> = environment.into_iter().filter(|(name, _)| name.starts_with(&prefix)).collect();
        for (name, text) in mine {
            if let Some(key) = names.get(&name) {
                let template = tree::get(&self.known, key).unwrap_or(&Value::Null);
                let readings = environment::readings(&text, template);
                self.put(Origin::Variable(name), key, readings);
            } else if !T::OTHER_VARIABLES.contains(&&*name) {
                let hint = tree::nearest(&name, names.keys()).map_or(String::new(), |n| format!("; did you mean {n}?"));
                self.warnings.push(format!("the variable {name} is no setting of this program{hint}"));
            }
        }
    }

    /// Puts in the first of the readings that fits; else the fault is the first one's.
    fn put(&mut self, origin: Origin, key: &str, readings: impl IntoIterator<Item = Value>) {
        let mut complaint = None;
        for reading in readings {
            let mut tree = self.tree.clone();
            tree::set(&mut tree, key, reading);
            match serde_json::from_value::<T>(tree.clone()) {
                Ok(value) => {
                    self.value = value;
                    self.tree = tree;
                    self.origins.insert(key.into(), origin);
                    return;
                }
                Err(error) => {
                    complaint.get_or_insert(error.to_string());
                }
            }
        }
        let message = complaint.map_or_else(String::new, |said| self.without_values(key, said));
        self.fault(origin, key, message);
    }

    /// What serde said, without the value that stands in its sentence where that may be a secret, or hold one: lists and
    /// tables are never shown.
    fn without_values(&self, key: &str, said: String) -> String {
        let is_plain = tree::get(&self.known, key).is_some_and(|known| !known.is_array() && !known.is_object());
        if is_plain && !tree::is_secret(key, T::SECRETS) {
            return said;
        }
        // The names of fields and what is expected of them are ours.
        match said.rsplit_once(", expected ") {
            Some((_, expected)) => format!("not a value for this key: expected {expected}"),
            None if said.starts_with("missing field ") => said,
            None => "not a value for this key".into(),
        }
    }

    fn finish(mut self) -> Result<Loaded<T>, ConfigError> {
        for Problem { key, message } in self.value.problems() {
            let origin = self.origins.get(key).cloned().unwrap_or(Origin::Default);
            self.fault(origin, key, message);
        }
        if !self.faults.is_empty() {
            return Err(ConfigError { faults: self.faults });
        }
        Ok(Loaded { value: self.value, warnings: self.warnings, tree: self.tree, origins: self.origins })
    }
}

#[cfg(test)]
mod tests;
