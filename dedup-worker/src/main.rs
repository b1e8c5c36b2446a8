//! The binary `dedup-worker`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use dedup_worker::command::{self, RunOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Reads events from both Kafka clusters and writes each of them once to events.deduped.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Settings file (TOML); dedup-worker.toml beside the source is a commented example.
    #[arg(long, env = "DEDUP_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Every setting has a default; a TOML file changes it, and an environment variable overrides both:
DEDUP_ and the key in upper case, as DEDUP_KAFKA_PRIMARY=kafka1:9092 or DEDUP_DATA=/var/lib/dedup.

  dedup-worker run                     share the lanes with every other worker that runs
  dedup-worker run --shadow            decide and count beside them, publish nothing
  dedup-worker lookup web 0f3c-77      is this id known, since when, where is its event
  dedup-worker rebuild                 throw the index away and make it again from the changelog

SIGTERM commits what was decided and exits with 0. It is a restart: the lanes wait for this
worker, for kafka.session_timeout_ms at most, and no other one notices. A worker that is to go for
good is run with --leave, or gets a second SIGTERM before it has ended: it hands its lanes over to
the others, and exits with 0, too.
Exit codes: 0 done, 1 failed, 2 bad usage or configuration.";

#[derive(Subcommand)]
enum Command {
    /// Work until SIGTERM. Started again with the same data folder within a session, it has its lanes back.
    Run {
        /// Decide and count, publish nothing. Uses its own group and directory and disturbs nobody.
        #[arg(long)]
        shadow: bool,
        /// Begin where the changelog is empty although there is output or an index, or where its beginning is gone. What
        /// was published before is not known then, and is published again when it is repeated.
        #[arg(long)]
        begin_anew: bool,
        /// Leave the group for good when told to stop: the other workers get the lanes at once, instead of waiting for this
        /// one to come back. It works on in each until its next owner does, five seconds at most.
        #[arg(long, conflicts_with = "shadow")]
        leave: bool,
    },
    /// Throw the index away and make it again. Goes on where it was interrupted. The worker must not be running.
    Rebuild {
        /// What to make it from: the changelog; or, for a changelog that is damaged or gone, a new changelog from the
        /// output. For the latter workers may run.
        #[arg(long, value_enum, default_value_t = From::EventsIndex)]
        from: From,
        /// One lane only, by its number.
        #[arg(long, value_name = "NUMBER")]
        lane: Option<u32>,
    },
    /// Compare the index with the changelog and print what differs. The worker must not be running.
    Verify {
        /// Print every difference; else the first ones of each lane, and how many there are.
        #[arg(long)]
        all: bool,
    },
    /// Say whether an id is known, since when, and where its event lies.
    Lookup {
        /// The source's id.
        source: String,
        /// The messageId.
        message_id: String,
        /// Print the event, too.
        #[arg(long)]
        show: bool,
    },
    /// Print who works, and how far each lane is behind on each input.
    Status,
    /// Check the settings and print those in force, with where each came from. Properties of clusters are not shown.
    CheckConfig,
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    #[value(name = "events.index")]
    EventsIndex,
    #[value(name = "events.deduped")]
    EventsDeduped,
}

fn main() -> ExitCode {
    let Cli { command, config } = Cli::parse();
    let file = config.as_deref();
    let run = || match command {
        Command::Run { shadow, begin_anew, leave } => command::run(file, RunOptions { shadow, begin_anew, leave }),
        Command::Rebuild { from: From::EventsIndex, lane } => command::rebuild(file, command::From::Changelog, lane),
        Command::Rebuild { from: From::EventsDeduped, lane } => command::rebuild(file, command::From::Output, lane),
        Command::Verify { all } => command::verify(file, all),
        Command::Lookup { source, message_id, show } => command::lookup(file, &source, &message_id, show),
        Command::Status => command::status(file),
        Command::CheckConfig => command::check_config(file),
    };
    service::exit::report("dedup-worker", dedup_worker::crash::arm().and_then(|()| run()))
}
