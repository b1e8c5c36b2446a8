//! Goal: whatever was acknowledged as durable is there after the power went, once it is read, unchanged and in order.
//! Fault: power cuts in the middle of random writes, syncs and changes of names, under many appenders and a reader, also
//! while the buffer opens; some of them after the process died a moment before. The buffer and its system calls are the
//! real ones, on a file system that forgets what was not synced.
//! Oracle: each record says who appended it and as which one, and the rest of its bytes follow from that; a ledger has
//! the ids of all that were acknowledged.
//!
//! `TESTS_CHAOS=1` asks for 2,000 cuts, `POWER_CUTS` for any number, `POWER_CUT_SEED` for the same choices again.

mod ledger;
mod life;
mod record;

use std::fmt::Write as _;
use std::io::Write as _;

use crate::life::{Life, Path};

/// Cuts of a usual run, and of a long one, over all paths.
const CUTS: u64 = 60;
const CUTS_CHAOS: u64 = 2_000;
/// Cuts that one buffer goes through before a new one takes its place.
const CUTS_OF_A_LIFE: u64 = 12;

#[test]
fn through_power_cuts_nothing_acknowledged_is_lost_invented_or_reordered() {
    let chaos = std::env::var_os("TESTS_CHAOS").is_some_and(|value| value != "0");
    let cuts = number("POWER_CUTS").unwrap_or(if chaos { CUTS_CHAOS } else { CUTS });
    let first_seed = number("POWER_CUT_SEED").unwrap_or_else(rand::random);
    let mut report = String::new();
    for (index, path) in [Path::Direct, Path::Off, Path::Refused].into_iter().enumerate() {
        // Half of the cuts for the direct path, the rest for the two ways to the fallback.
        let wanted = if path == Path::Direct { cuts - cuts / 4 * 2 } else { cuts / 4 };
        let mut sum = life::Sum::default();
        for number in 0.. {
            if sum.cuts >= wanted {
                break;
            }
            let seed = first_seed.wrapping_add(index as u64 * 1_000_000 + number);
            let cuts = CUTS_OF_A_LIFE.min(wanted - sum.cuts);
            let ended = std::panic::catch_unwind(|| Life::new(seed, path).run(cuts));
            match ended {
                Ok(Some(lived)) => sum.add(lived),
                Ok(None) => {
                    assert!(!chaos, "the long form needs the disk");
                    return;
                }
                Err(panic) => {
                    eprintln!("{path:?}: POWER_CUT_SEED={seed} makes the same choices again");
                    std::panic::resume_unwind(panic);
                }
            }
        }
        let _ = writeln!(report, "power cuts, {path:?}: {sum}");
        assert!(sum.acknowledged > wanted * 10, "hardly anything was acknowledged: {sum}");
        assert!(sum.held > wanted, "hardly anything had to outlive a cut: {sum}");
    }
    say(&format!("{report}0 acknowledged records lost, 0 invented, 0 reordered (seed {first_seed})\n"));
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Writes to the terminal also when the test passes, which hides what `println!` says.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
