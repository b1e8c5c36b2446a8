//! The command line: words in, settings out, exit code back.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use service::{remark, say};

use crate::run::{self, Rate, parse_target};
use crate::workload::{Shape, Workload};
use crate::{Error, compare, config, run_file, verify};

/// Events of a batch where nothing else is asked.
const BATCH_EVENTS: u32 = 100;

/// Loads a Segment-compatible ingest server on schedule, and proves from its output that nothing was lost or doubled.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Cli {
    /// File with options, see loadtest.toml; LOADTEST_<COMMAND>_<OPTION> in the environment goes before it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  loadtest run --rate 20000 --duration 60s --ledger /tmp/run1
  loadtest verify --ledger /tmp/run1 --output data/deduped
  loadtest verify --ledger /tmp/run1 --output kafka://127.0.0.1:19092/events.deduped
  loadtest run --rate max --connections 256 --json fast.json
  loadtest run --shape mixed --rate 50000 --gzip 0.2 --duplicates 0.05 --ledger /tmp/run2
  loadtest compare before.json after.json

Exit codes: 0 done or passed, 1 failed, 2 bad usage.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Send events on schedule and measure
    ///
    /// The schedule does not bend to the server: event n is due at n / RATE seconds, and latency counts from then,
    /// waiting for a free connection and retries included. With --ledger every request is noted before it is sent, so
    /// that `verify` can check the output; until it has, throughput is called "not verified". One seed makes the same
    /// events again.
    Run(Box<RunArgs>),
    /// Compare a server's output with what was sent
    ///
    /// Waits until the servers' backlogs are empty and the output has settled. A topic is read as its readers do:
    /// `read_committed`, from the earliest record of every partition, without joining a group. Passes when every
    /// acknowledged event is there exactly once with the bytes that were sent, events of requests without an answer at
    /// most once, refused ones not at all, and nothing else of these runs. What other runs and other sources sent to the
    /// same output is counted in one line, and judged with --strict alone.
    Verify(VerifyArgs),
    /// Put two reports side by side
    Compare(CompareArgs),
    /// Check the file given by --config, and name the line that is wrong
    CheckConfig,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Server to load
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080")]
    target: String,
    /// Events (not requests) a second, or `max`: each connection sends again when it has its answer
    #[arg(long, value_parser = parse_rate, default_value = "1000")]
    rate: Rate,
    /// How long events fall due
    #[arg(long, value_parser = parse_duration, default_value = "30s")]
    duration: Duration,
    /// Connections, each with one request at a time
    #[arg(long, default_value_t = 64)]
    connections: u32,
    /// Sending threads; one does about 100,000 requests a second
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// How events are put into requests [default: single, or batch where --events-per-request is above 1]
    #[arg(long, value_enum)]
    shape: Option<Shape>,
    /// Events of one batch [default: 100]
    #[arg(long, value_name = "N")]
    events_per_request: Option<u32>,
    /// Bytes of one event
    #[arg(long, value_name = "N", default_value_t = 920)]
    event_bytes: usize,
    /// Share of event slots that repeat an earlier event
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    duplicates: f64,
    /// Share of events without a messageId
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    without_message_id: f64,
    /// Share of bodies that are compressed
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    gzip: f64,
    /// Decides every byte that is sent; decimal or 0x... [default: random, and printed]
    #[arg(long, value_parser = parse_seed)]
    seed: Option<u64>,
    /// Write key
    #[arg(long, value_name = "KEY", default_value = "loadtest")]
    write_key: String,
    /// The `source` that the output shows for this write key [default: the write key]
    #[arg(long, value_name = "ID")]
    source: Option<String>,
    /// Send a request again for this long where there was no connection, no answer, a 429 or a 5xx; 0 for never
    #[arg(long, value_parser = parse_duration, value_name = "TIME", default_value = "60s")]
    retry_for: Duration,
    /// Longest Retry-After to wait
    #[arg(long, value_parser = parse_duration, value_name = "TIME", default_value = "1s")]
    retry_after_max: Duration,
    /// How long to wait for a connection, and for an answer
    #[arg(long, value_parser = parse_duration, value_name = "TIME", default_value = "8s")]
    timeout: Duration,
    /// Directory for the ledger; must not hold one
    #[arg(long, value_name = "DIR")]
    ledger: Option<PathBuf>,
    /// File for the report
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct VerifyArgs {
    /// Ledger of a run; give every run that went to this output
    #[arg(long, value_name = "DIR", required = true)]
    ledger: Vec<PathBuf>,
    /// Directory with the server's *.ndjson files, or a Kafka topic
    #[arg(long, value_name = "DIR|kafka://HOST:PORT/TOPIC")]
    output: String,
    /// Property of the Kafka client that reads a topic, such as security.protocol=SASL_SSL; give it again for each. The
    /// value may be kept elsewhere: sasl.password=file:PATH or =env:NAME
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_property)]
    kafka_property: Vec<(String, String)>,
    /// Where a server's metrics tell its backlog; give every server that writes to this output
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: Vec<String>,
    /// How long backlog and output must be at rest; longer than anything between them ever pauses
    #[arg(long, value_parser = parse_duration, value_name = "TIME", default_value = "2s")]
    settle: Duration,
    /// How long to wait for that
    #[arg(long, value_parser = parse_duration, value_name = "TIME", default_value = "120s")]
    timeout: Duration,
    /// Fail where the output holds anything that these runs did not send
    #[arg(long)]
    strict: bool,
    /// Largest share of requests that may be without an answer
    #[arg(long, value_name = "SHARE", default_value_t = 0.01)]
    unanswered_max: f64,
    /// File for the verdict
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// Report of `run --json`, or directory of a ledger
    a: PathBuf,
    /// The other one
    b: PathBuf,
}

/// Parses the process's arguments, does what they say and prints the result.
pub fn main() -> ExitCode {
    match parse_and_run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            remark(format_args!("loadtest: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}

fn parse_and_run() -> Result<bool, Error> {
    let words: Vec<_> = std::env::args().collect();
    let path = config::path(&words, std::env::var("LOADTEST_CONFIG").ok());
    let parsed = parse(words, path.as_deref())?;
    match parsed.command {
        Command::Run(args) => run(*args),
        Command::Verify(args) => verify(args),
        Command::Compare(args) => {
            say(compare::compare(&args.a, &args.b)?)?;
            Ok(true)
        }
        // It was read, or there would be no command to carry out.
        Command::CheckConfig => {
            say(format_args!(
                "{}",
                path.map_or("no --config: the defaults".to_owned(), |path| format!("{}: good", path.display()))
            ))?;
            Ok(true)
        }
    }
}

/// Ends the process, as clap does, where the words ask for help or are wrong.
fn parse(words: Vec<String>, config: Option<&Path>) -> Result<Cli, Error> {
    let mut command = Cli::command();
    if let Some(path) = config {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Error::Usage(format!("--config {}: {error}", path.display())))?;
        command = config::with_file(command, path, &text)?;
    }
    let matches = config::with_environment(command).get_matches_from(words);
    Cli::from_arg_matches(&matches).map_err(|error| Error::Usage(error.to_string()))
}

fn run(args: RunArgs) -> Result<bool, Error> {
    let json = args.json.clone();
    let ledger = args.ledger.clone();
    let settings = run_settings(args)?;
    remark(format_args!("loadtest: seed {:#018x}, {}", settings.workload.seed, settings.target));
    let report = run::run(settings)?;
    say(&report)?;
    if let Some(dir) = ledger {
        say(format_args!(
            "to verify    loadtest verify --ledger {} --output <DIR|kafka://HOST:PORT/TOPIC>",
            dir.display()
        ))?;
    }
    if let Some(path) = json {
        run_file::write_json(&path, &report)?;
    }
    Ok(report.failure().is_none())
}

fn run_settings(args: RunArgs) -> Result<run::Settings, Error> {
    let (host, address) = parse_target(&args.target)?;
    let shape = args.shape.unwrap_or(match args.events_per_request {
        None | Some(1) => Shape::Single,
        Some(_) => Shape::Batch,
    });
    let events_per_request = match (shape, args.events_per_request) {
        (Shape::Mixed, Some(_)) => {
            return Err(Error::Usage("--shape mixed has its own --events-per-request".to_owned()));
        }
        (Shape::Mixed | Shape::Single, None) => 1,
        (Shape::Batch, None) => BATCH_EVENTS,
        (_, Some(events)) => events,
    };
    let seed = match args.seed {
        Some(seed) => seed,
        None => getrandom::u64().map_err(|error| Error::Failed(format!("no random seed: {error}")))?,
    };
    let workload = Workload {
        seed,
        shape,
        events_per_request,
        event_bytes: args.event_bytes,
        duplicates: args.duplicates,
        without_message_id: args.without_message_id,
        source: args.source.unwrap_or_else(|| args.write_key.clone()),
    };
    Ok(run::Settings {
        workload,
        target: args.target,
        host,
        address,
        write_key: args.write_key,
        rate: args.rate,
        duration: args.duration,
        connections: args.connections,
        threads: args.threads,
        gzip: args.gzip,
        timeout: args.timeout,
        retry_for: args.retry_for,
        retry_after_max: args.retry_after_max,
        ledger: args.ledger,
    })
}

fn verify(args: VerifyArgs) -> Result<bool, Error> {
    let verdict = verify::verify(&verify::Settings {
        ledgers: args.ledger,
        output: args.output,
        properties: args.kafka_property.into_iter().collect(),
        admins: args.admin,
        settle: args.settle,
        timeout: args.timeout,
        is_strict: args.strict,
        unanswered_max: args.unanswered_max,
    })?;
    say(&verdict)?;
    if let Some(path) = args.json {
        run_file::write_json(&path, &verdict)?;
    }
    Ok(verdict.passed)
}

/// The value may be a secret, so it is not repeated.
fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn parse_rate(text: &str) -> Result<Rate, String> {
    match text {
        "max" => Ok(Rate::Max),
        _ => text.parse().map(Rate::EventsPerSecond).map_err(|_| "events a second, or `max`".to_owned()),
    }
}

/// `250ms`, `30s`, `5m`, `1h`; a bare number is seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("a time like 250ms, 30s, 5m or 1h".to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| "a time like 250ms, 30s, 5m or 1h".to_owned())?;
    // A year: far beyond any run, and far below where adding to the clock overflows.
    match number * unit_seconds {
        seconds @ 0.0..=31_536_000.0 => Ok(Duration::from_secs_f64(seconds)),
        _ => Err("between 0 and a year".to_owned()),
    }
}

fn parse_seed(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|error| format!("{error}: a number below 2^64, decimal or 0x..."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }

    /// Parses with this file.
    fn with_file(text: &str, words: &[&str]) -> Result<Command, Error> {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("loadtest.toml");
        std::fs::write(&path, text).expect("writes");
        parse(words.iter().map(|&word| word.to_owned()).collect(), Some(&path)).map(|cli| cli.command)
    }

    #[test]
    fn the_example_file_names_every_option_with_its_default() {
        let is_option = |line: &str| line.starts_with(|first: char| first.is_ascii_lowercase());
        let example: String = include_str!("../loadtest.toml")
            .lines()
            .map(|line| line.strip_prefix("# ").filter(|rest| is_option(rest)).unwrap_or(line))
            .flat_map(|line| [line, "\n"])
            .collect();
        let with = with_file(&example, &["loadtest", "run"]).expect("a good file");
        let without =
            Cli::parse_from(["loadtest", "run", "--shape", "single", "--events-per-request", "1"].iter().chain(&[
                "--seed",
                "1",
                "--source",
                "loadtest",
                "--ledger",
                "ledger",
                "--json",
                "report.json",
            ]));
        assert_eq!(format!("{with:?}"), format!("{:?}", without.command));
        let with = with_file(&example, &["loadtest", "verify"]).expect("a good file");
        let words = ["loadtest", "verify", "--ledger", "ledger", "--output", "data/deduped", "--json", "verdict.json"];
        let words = words.iter().chain(&["--kafka-property", "security.protocol=SASL_SSL"]);
        assert_eq!(format!("{with:?}"), format!("{:?}", Cli::parse_from(words).command));
        for name in ["run", "verify"] {
            let mut command = Cli::command();
            command.build();
            let subcommand = command.find_subcommand(name).expect("a command");
            for long in subcommand.get_arguments().filter_map(clap::Arg::get_long) {
                let is_there = example.contains(&format!("\n{long} = "));
                assert!(is_there || ["config", "help", "version"].contains(&long), "{name} {long}");
            }
        }
    }

    #[test]
    fn the_command_line_goes_before_the_file() {
        let command = with_file("[run]\nrate = 5\nduration = \"7s\"\n", &["loadtest", "run", "--rate", "9"]);
        let Command::Run(args) = command.expect("a good file") else { panic!("run") };
        assert_eq!((args.rate, args.duration), (Rate::EventsPerSecond(9.0), Duration::from_secs(7)));
    }

    #[test]
    fn the_wrong_line_of_a_file_is_named() {
        for (text, words) in [
            ("[run]\n\nratee = 1\n", "loadtest.toml:3: ratee"),
            ("[run]\nrate = 1\n[verify]\nrate = 1\n", "loadtest.toml:4: rate"),
            ("[run]\nrate = \"fast\"\n", "loadtest.toml:2: invalid value 'fast'"),
            ("[run]\nrate = [1]\n", "loadtest.toml:2: rate: must be one value"),
            ("[runs]\n", "loadtest.toml:1: runs"),
            ("[run]\nrate = \n", "loadtest.toml:2: "),
        ] {
            let error = with_file(text, &["loadtest", "check-config"]).expect_err(text);
            assert!(error.to_string().contains(words) && error.exit_code() == 2, "{error}");
        }
    }

    #[test]
    fn times_and_seeds_are_read() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5m"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("7"), Ok(Duration::from_secs(7)));
        for bad in ["", "s", "-1s", "3 weeks", "1e300h"] {
            parse_duration(bad).expect_err(bad);
        }
        assert_eq!(parse_seed("0xff"), Ok(255));
        assert_eq!(parse_seed("18446744073709551615"), Ok(u64::MAX));
        parse_seed("0x1ffffffffffffffff").expect_err("too large");
    }

    #[test]
    fn the_shape_follows_from_the_batch_size() {
        let shape = |words: &[&str]| {
            let words = ["loadtest", "run"].iter().chain(words);
            let Command::Run(args) = Cli::parse_from(words).command else { panic!("run") };
            run_settings(*args).map(|settings| (settings.workload.shape, settings.workload.events_per_request))
        };
        assert_eq!(shape(&[]).expect("good"), (Shape::Single, 1));
        assert_eq!(shape(&["--events-per-request", "7"]).expect("good"), (Shape::Batch, 7));
        assert_eq!(shape(&["--shape", "batch"]).expect("good"), (Shape::Batch, 100));
        shape(&["--shape", "mixed", "--events-per-request", "7"]).expect_err("contradiction");
    }
}
