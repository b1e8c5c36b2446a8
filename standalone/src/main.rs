//! The binary `turnstile`.

use std::path::PathBuf;
use std::process::ExitCode;

use buffer_tools::BufferCommand;
use clap::{Parser, Subcommand, ValueEnum};
use standalone::config::Config;
use standalone::rebuild::{RebuildFrom, rebuild};
use standalone::run;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes tracking events from Segment SDKs over HTTP and writes each of them once to data/deduped/*.ndjson.
#[derive(Parser)]
#[command(name = "turnstile", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Every setting has a default; a TOML file changes it, and an environment variable overrides both:
TURNSTILE_ and the key in upper case, as TURNSTILE_LISTEN=0.0.0.0:8080 or TURNSTILE_DATA=/var/lib/turnstile.

  turnstile run                                  events on 127.0.0.1:8080, figures on 127.0.0.1:9090, all in ./data
  turnstile run --take-over                      the same, in place of the one that runs, without a refused connection
  turnstile check-config --config turnstile.toml what is wrong, or what is in force and where it came from
  curl -u KEY: 127.0.0.1:8080/v1/track -d '{\"userId\":\"u1\",\"event\":\"Hello\"}'

  turnstile buffer inspect                       what waits, since when, and what was set aside
  turnstile buffer --help                        verify, dump, repair, reinject

SIGTERM finishes what was begun, drains and exits with 0; SIGHUP reads write keys and limits again. With a socket unit of
systemd (LISTEN_FDS; the one named admin is the admin port) a restart refuses no connection.
Exit codes: 0 done, 1 failed, 2 bad usage or configuration.";

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM.
    Run {
        #[command(flatten)]
        settings: Settings,
        /// This host's clock is right, although it is more than a week after the last event.
        ///
        /// Else nothing expires from the dedup index until the clock is set right: one that is wrong would make the index
        /// forget what was written, and repeats would come out again.
        #[arg(long)]
        believe_clock: bool,
        /// Take over from the turnstile that runs on the same data, without a refused connection.
        ///
        /// It gives its listeners and its idle connections to this one and ends when this one serves. If this one cannot,
        /// it goes on. Where none runs this is a start like any other.
        #[arg(long)]
        take_over: bool,
    },
    /// Check the settings and print those in force, with where each came from. Write keys are not shown.
    CheckConfig(Settings),
    /// Throw the dedup index away and make it again. The server must not be running.
    ///
    /// The index is a cache, so this loses nothing; `turnstile run` does it by itself when it finds the index damaged.
    /// `--from output` is for a damaged or lost ledger: it makes a new one from the lines in data/deduped/.
    Rebuild {
        #[command(flatten)]
        settings: Settings,
        /// What to make it from.
        #[arg(long, value_enum, default_value_t = From::Ledger)]
        from: From,
    },
    /// Look into a local buffer, check it, repair it, and bring back what was set aside.
    Buffer {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        buffer: BufferCommand<Turnstile>,
    },
}

/// In whose name the buffer's tools speak.
struct Turnstile;

impl buffer_tools::Program for Turnstile {
    const NAME: &'static str = "turnstile";
    const EXAMPLE_DIR: &'static str = "/var/lib/turnstile/buffer";
    const SETTINGS_DIR: &'static str = "TURNSTILE_DATA/buffer, by default ./data/buffer";
}

#[derive(Clone, Copy, ValueEnum)]
enum From {
    Ledger,
    Output,
}

#[derive(clap::Args)]
struct Settings {
    /// Settings file (TOML); turnstile.toml beside the source is a commented example.
    // Global: `buffer` takes it behind its own commands too.
    #[arg(long, env = "TURNSTILE_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = run::arm_crash().and_then(|()| match Cli::parse().command {
        Command::Run { settings, believe_clock, take_over } => run::run(settings.config, believe_clock, take_over),
        Command::CheckConfig(settings) => run::check_config(settings.config.as_deref()),
        Command::Rebuild { settings, from: From::Ledger } => rebuild(settings.config.as_deref(), RebuildFrom::Ledger),
        Command::Rebuild { settings, from: From::Output } => rebuild(settings.config.as_deref(), RebuildFrom::Output),
        Command::Buffer { settings, buffer } => {
            buffer.run(|| Ok(service::settings::<Config>(settings.config.as_deref())?.value.buffer_dir()))
        }
    });
    service::exit::report("turnstile", outcome)
}
