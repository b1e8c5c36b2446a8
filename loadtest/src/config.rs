//! Options from a file and from the environment, under those of the command line.
//!
//! A file has a table for each command with its long options as keys; a variable is called
//! `LOADTEST_<COMMAND>_<OPTION>`. Both become defaults of the options, so nothing is named twice: command line, then
//! environment, then file, then the built-in default.

use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::{Arg, Command};

use crate::Error;

/// The file's path, from `--config` among the words or from `LOADTEST_CONFIG`.
pub(crate) fn path(words: &[String], variable: Option<String>) -> Option<PathBuf> {
    let mut words = words.iter().take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        match word.strip_prefix("--config") {
            Some("") => return words.next().map(PathBuf::from),
            Some(rest) if rest.starts_with('=') => return Some(PathBuf::from(&rest[1..])),
            _ => {}
        }
    }
    variable.map(PathBuf::from)
}

/// Lets every option be given by its variable.
pub(crate) fn with_environment(command: Command) -> Command {
    command.mut_subcommands(|subcommand| {
        let prefix = format!("LOADTEST_{}_", subcommand.get_name());
        subcommand.mut_args(|option| match option.get_long() {
            Some(long) if option.get_id() != "config" => {
                let name = format!("{prefix}{long}").to_uppercase().replace('-', "_");
                option.env(leak(name)).hide_env(true)
            }
            _ => option,
        })
    })
}

/// Makes the values of a file the defaults of their options.
pub(crate) fn with_file(mut command: Command, path: &Path, text: &str) -> Result<Command, Error> {
    let usage = |line: usize, why: &str| Error::Usage(format!("{}:{line}: {why}", path.display()));
    let file: toml::Table = text.parse().map_err(|error: toml::de::Error| {
        usage(line_at(text, error.span().map_or(0, |span| span.start)), error.message())
    })?;
    for (name, options) in &file {
        let table_line = line_of(text, &format!("[{name}]"), 0);
        let (Some(subcommand), Some(options)) = (command.find_subcommand(name), options.as_table()) else {
            return Err(usage(
                table_line.max(line_of(text, name, 0)),
                &format!("{name}: no such command; [run] or [verify]"),
            ));
        };
        let known: Vec<_> = subcommand.get_arguments().filter_map(Arg::get_long).map(str::to_owned).collect();
        for (key, value) in options {
            let line = line_of(text, key, table_line);
            if !known.contains(key) {
                return Err(usage(line, &format!("{key}: `loadtest {name}` has no such option")));
            }
            let value = match value {
                toml::Value::String(value) => value.clone(),
                toml::Value::Table(_) | toml::Value::Array(_) => {
                    return Err(usage(line, &format!("{key}: must be one value")));
                }
                other => other.to_string(),
            };
            let id = key.replace('-', "_");
            let with_value = |subcommand: Command| {
                subcommand.mut_arg(id, |option| option.required(false).default_value(leak(value)))
            };
            command = command.mut_subcommand(name, with_value);
            let parsed = command.clone().try_get_matches_from(["loadtest", name]);
            if let Err(error) = parsed
                && matches!(error.kind(), ErrorKind::InvalidValue | ErrorKind::ValueValidation)
            {
                let words = error.to_string();
                return Err(usage(line, words.lines().next().unwrap_or(&words).trim_start_matches("error: ")));
            }
        }
    }
    Ok(command)
}

/// Option names and values live as long as the process; clap wants that of them.
fn leak(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn line_at(text: &str, offset: usize) -> usize {
    text[..offset].matches('\n').count() + 1
}

/// The first line behind line `after` that starts with `word`.
fn line_of(text: &str, word: &str, after: usize) -> usize {
    text.lines()
        .skip(after)
        .position(|line| line.trim_start().starts_with(word))
        .map_or(after, |index| after + index + 1)
}
