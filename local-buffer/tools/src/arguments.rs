//! What the command `buffer` can be told, and its help.
//!
//! Each text is there once, and is told in the name of the program that shows it: see [`spoken`].

use std::marker::PhantomData;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::program::{Program, help_spoken, spoken};

/// The command `buffer` of a program, and what is to be done.
#[derive(Debug, Args)]
#[command(after_help = spoken::<P>(AFTER_HELP), mut_subcommands(help_spoken::<P>))]
pub struct BufferCommand<P: Program> {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[arg(skip)]
    program: PhantomData<P>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Print what is in a buffer: floor, next id, what waits and since when, segments, quarantine.
    #[command(after_help = AFTER_INSPECT)]
    Inspect {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        json: Json,
    },
    /// Read everything, with every checksum, and report each damaged piece with its place and the reason.
    #[command(after_help = AFTER_VERIFY)]
    Verify {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        json: Json,
    },
    /// Print the records as NDJSON, from the floor on: one line for each, in the order in which they are drained.
    #[command(after_help = AFTER_DUMP)]
    Dump {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        range: Range,
        /// The same: it is always JSON.
        #[arg(long)]
        json: bool,
    },
    /// Do on purpose what the next start would do, and what it cannot. Nothing may be using the buffer.
    #[command(after_help = AFTER_REPAIR)]
    Repair {
        #[command(flatten)]
        place: Place,
        /// Say what would be done, and change nothing. Works while the buffer is in use.
        #[arg(long)]
        dry_run: bool,
        /// Let everything below this id count as done. What was not drained below it is given up.
        #[arg(long, value_name = "ID")]
        floor: Option<u64>,
        #[command(flatten)]
        json: Json,
    },
    /// Put records of the quarantine back into the buffer, to be drained again. Nothing may be using the buffer.
    #[command(after_help = AFTER_REINJECT)]
    Reinject {
        #[command(flatten)]
        place: Place,
        #[command(flatten)]
        choice: Choice,
        #[command(flatten)]
        json: Json,
    },
}

/// Where the buffer is.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Directory of the buffer; by default that of the settings, which are read only then.
    #[arg(value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// How it is printed.
#[derive(Debug, Args)]
pub(crate) struct Json {
    /// Print JSON, for programs.
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which records are printed.
#[derive(Debug, Args)]
pub(crate) struct Range {
    /// Also records that are done, as long as their segment was not written again.
    #[arg(long)]
    pub(crate) all: bool,
    /// Begin with this id; done records are printed as with --all.
    #[arg(long, value_name = "ID", conflicts_with = "all")]
    pub(crate) from: Option<u64>,
    /// Print so many lines at most.
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<u64>,
    /// Print what was set aside instead: damaged bytes, and records that nobody took.
    #[arg(long, conflicts_with_all = ["all", "from"])]
    pub(crate) quarantine: bool,
}

/// What is put back.
#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "which")]
pub(crate) struct Which {
    /// These files of the quarantine.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) record: Option<Vec<PathBuf>>,
    /// Every record of the quarantine.
    #[arg(long)]
    pub(crate) all: bool,
}

/// What is put back, and how far one goes for it.
#[derive(Debug, Args)]
pub(crate) struct Choice {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Also whole records found inside damaged bytes, and inside segments that were set aside.
    #[arg(long)]
    pub(crate) salvage: bool,
}

const AFTER_HELP: &str = "\
Examples:
  {program} buffer inspect\tthe buffer of the settings
  {program} buffer verify {dir}\texit code 1 if anything is damaged
  {program} buffer dump {dir} --limit 10\tthe next events that will be drained
  {program} buffer dump {dir} --quarantine | jq .reason
  {program} buffer repair {dir} --dry-run
  {program} buffer reinject {dir} --all

inspect, verify, dump and repair --dry-run take no lock and write nothing: use them at any time.
repair and reinject refuse while a process uses the buffer, and name it.
Without DIR it is the buffer of the settings: {settings}.
Exit codes: 0 done, 1 failed or damage found, 2 bad usage.";

const AFTER_INSPECT: &str = "\
Examples:
  {program} buffer inspect
  {program} buffer inspect {dir} --json | jq .oldest_age_ms

Reads headers and a few blocks, however large the buffer is. All ids from the floor to the next one
count as undrained, also the few that a crash or damage has left out.";

const AFTER_VERIFY: &str = "\
Examples:
  {program} buffer verify {dir}
  {program} buffer verify --json | jq '.damage[] | {kind, file, offset, bytes}'

On a buffer at work the group that is being written is not judged. Damage whose bytes lie in the
quarantine already, and damage that costs nothing, is listed and does not count: exit code 1 means
that there is other damage.";

const AFTER_DUMP: &str = "\
Examples:
  {program} buffer dump --limit 1
  {program} buffer dump --from 1200 | jq -r .messageId
  {program} buffer dump --all | grep '\"order-1001\"'
  {program} buffer dump --quarantine | jq 'select(.kind == \"record\") | {file, reason, messageId}'

A line has id, envelope (event or rejected), source, messageId, receivedAt and event; a record that
is no envelope has bytes (base64) and error instead. Memory does not grow with the buffer, and the
end of a pipe is no failure.";

const AFTER_REPAIR: &str = "\
Examples:
  {program} buffer repair {dir} --dry-run
  {program} buffer repair {dir}
  {program} buffer repair {dir} --floor 120000

It copies damaged bytes to the quarantine, moves segments there that are not of this buffer, seals
the last segment, writes a lost name or floor again, and puts the name right where the meta file
came from another buffer. A lost floor is taken from what the segments say: records may be drained
again, and dedup drops them. It cannot bring back bytes that are gone. It deletes nothing that may
hold an undrained record, may be cut short, and may be repeated.";

const AFTER_REINJECT: &str = "\
Examples:
  {program} buffer reinject {dir} --all
  {program} buffer reinject {dir} --record record-00000000000000000042.q
  {program} buffer reinject {dir} --all --salvage

A record gets a new id and is durable before its file is moved to quarantine/reinjected/; nothing is
deleted. After a crash in between, run it again: a record may then come twice, and dedup drops the
repeat, because its messageId is the same. Records that come out of --salvage may have been drained
before; dedup drops those that are not older than its window.";
