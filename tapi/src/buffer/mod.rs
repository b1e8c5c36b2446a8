//! `tapi buffer`: looking into a local buffer and putting it right, for whoever is on call.
//!
//! Everything here prints; what is printed is found out, and done, by [`local_buffer::inspect`]. `inspect`, `verify` and
//! `dump` take no lock and write nothing, so they work on a buffer that a process uses. `repair` and `reinject` take the
//! lock and refuse while somebody else has it.
//!
//! With `--json` each command prints one JSON object, `dump` one for each line, always. Field names are stable: ids and
//! sizes are numbers, sizes are bytes, times are RFC 3339 in UTC, what is not known is `null`. Messages and progress go
//! to stderr. Exit codes: 0 done, 1 failed or damage found, 2 bad usage.

mod arguments;
mod bar;
mod damage;
mod dump;
mod inspect;
mod output;
mod place;
mod record;
mod reinject;
mod repair;
mod text;
mod verify;

pub use arguments::BufferCommand;
use arguments::Command;
use service::Failure;

impl BufferCommand {
    /// Does what was asked for.
    ///
    /// # Errors
    /// Failures of the system, damage that was found, a directory that cannot be meant.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Inspect { place, json } => inspect::run(&place.dir()?, json.json),
            Command::Verify { place, json } => verify::run(&place.dir()?, json.json),
            Command::Dump { place, range, json: _ } => dump::run(&place.dir()?, &range),
            Command::Repair { place, dry_run, floor, json } => repair::run(&place.dir()?, dry_run, floor, json.json),
            Command::Reinject { place, choice, json } => reinject::run(&place.dir()?, &choice, json.json),
        }
    }
}
