//! The command `buffer` of `tapi` and `turnstile`: looking into a local buffer and putting it right, for whoever is on
//! call.
//!
//! Everything here prints; what is printed is found out, and done, by [`local_buffer::inspect`]. `inspect`, `verify` and
//! `dump` take no lock and write nothing, so they work on a buffer that a process uses. `repair` and `reinject` take the
//! lock and refuse while somebody else has it.
//!
//! With `--json` each command prints one JSON object, `dump` one for each line, always. Field names are stable: ids and
//! sizes are numbers, sizes are bytes, times are RFC 3339 in UTC, what is not known is `null`. Messages and progress go
//! to stderr. Exit codes: 0 done, 1 failed or damage found, 2 bad usage.
//!
//! What is the program's own it says itself: its name and folders ([`Program`]), for help and messages, and the
//! directory of its settings, for whoever names none ([`BufferCommand::run`]).

mod arguments;
mod bar;
mod damage;
mod dump;
mod inspect;
mod place;
mod program;
mod record;
mod reinject;
mod repair;
mod text;
mod verify;

use std::path::PathBuf;

pub use arguments::BufferCommand;
use arguments::Command;
pub use program::Program;
use service::{Access, Failure};

impl<P: Program> BufferCommand<P> {
    /// Does what was asked for. `of_settings` gives the directory of the program's settings; it is called where the
    /// command names none.
    ///
    /// # Errors
    /// Failures of the system, damage that was found, a directory that cannot be meant, those of `of_settings`.
    pub fn run(self, of_settings: impl FnOnce() -> Result<PathBuf, Failure>) -> Result<(), Failure> {
        // What is mended is as private as it was, whether the settings are read or not.
        Access::default().apply();
        match self.command {
            Command::Inspect { place, json } => inspect::run(&place.dir(of_settings)?, json.json),
            Command::Verify { place, json } => verify::run(&place.dir(of_settings)?, json.json, P::NAME),
            Command::Dump { place, range, json: _ } => dump::run(&place.dir(of_settings)?, &range, P::NAME),
            Command::Repair { place, dry_run, floor, json } => {
                repair::run(&place.dir(of_settings)?, dry_run, floor, json.json)
            }
            Command::Reinject { place, choice, json } => reinject::run(&place.dir(of_settings)?, &choice, json.json),
        }
    }
}
