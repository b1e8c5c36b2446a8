//! The proof that the buffer keeps its promises: one oracle, and the ways in which everything is done to it.

mod crash_states;
mod damage;
mod faults;
mod model;
mod oracle;
mod scene;
mod shrink;

use std::io::Write;

/// Whether the long form was asked for.
fn chaos() -> bool {
    std::env::var_os("TESTS_CHAOS").is_some()
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Prints what was counted, past the test harness, which shows only what failed tests print.
fn count(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "\nlocal-buffer: {line}");
}
