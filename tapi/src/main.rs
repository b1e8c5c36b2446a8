//! The binary `tapi`.

use std::path::PathBuf;
use std::process::ExitCode;

use buffer_tools::BufferCommand;
use clap::{Parser, Subcommand};

/// librdkafka's as well: `build.rs` sees to that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Takes tracking events from Segment SDKs over HTTP, answers 200 only when they are safe on disk, and drains them to one
/// of two Kafka clusters.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Every setting has a default; a TOML file changes it, and an environment variable overrides both:
TAPI_ and the key in upper case, as TAPI_LISTEN=0.0.0.0:8080 or TAPI_BUFFER_BYTES_MAX=1073741824.

  tapi run                                 listen on 127.0.0.1:8080, keep events in ./data/tapi, drain them to Kafka
                                           on 127.0.0.1:19092, or 127.0.0.1:29092 while that one is down
  tapi run --take-over                     the same, in place of the one that runs, without a refused connection
  tapi check-config --config tapi.toml     what is wrong, or what is in force and where it came from
  curl -u KEY: 127.0.0.1:8080/v1/track -d '{\"userId\":\"u1\",\"event\":\"Hello\"}'

  tapi buffer inspect                      what waits in the local buffer, how old it is, what was set aside
  tapi buffer --help                       verify, dump, repair, reinject

  curl -X POST '127.0.0.1:9090/kafka/pin?cluster=secondary'    use one cluster alone; POST /kafka/release ends it

SIGTERM drains and exits with 0; SIGHUP reads write keys and limits again.
Exit codes: 0 done, 1 failed, 2 bad usage or configuration.";

#[derive(Subcommand)]
enum Command {
    /// Serve and drain until SIGTERM.
    Run {
        #[command(flatten)]
        settings: Settings,
        /// Take over from the tapi that runs on the same data, without a refused connection.
        ///
        /// It gives its listeners and its idle connections to this one and ends when this one serves. If this one cannot,
        /// it goes on. Where none runs this is a start like any other.
        #[arg(long)]
        take_over: bool,
    },
    /// Check the settings and print those in force, with where each came from. Write keys are not shown.
    CheckConfig(Settings),
    /// Look into a local buffer, check it, repair it, and bring back what was set aside.
    Buffer {
        #[command(flatten)]
        settings: Settings,
        #[command(flatten)]
        buffer: BufferCommand<Tapi>,
    },
}

/// In whose name the buffer's tools speak.
struct Tapi;

impl buffer_tools::Program for Tapi {
    const NAME: &'static str = "tapi";
    const EXAMPLE_DIR: &'static str = "/var/lib/tapi";
    const SETTINGS_DIR: &'static str = "TAPI_DATA, by default ./data/tapi";
}

#[derive(clap::Args)]
struct Settings {
    /// Settings file (TOML); tapi.toml beside the source is a commented example.
    // Global: `buffer` takes it behind its own commands too.
    #[arg(long, env = "TAPI_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

fn main() -> ExitCode {
    let outcome = tapi::arm_crash().and_then(|()| match Cli::parse().command {
        Command::Run { settings, take_over } => tapi::run(settings.config, take_over),
        Command::CheckConfig(settings) => tapi::check_config(settings.config.as_deref()),
        Command::Buffer { settings, buffer } => buffer.run(|| tapi::buffer_dir(settings.config.as_deref())),
    });
    service::exit::report("tapi", outcome)
}
