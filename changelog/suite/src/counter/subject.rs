//! The counter as a state under test.

use std::fs;
use std::path::Path;

use wire::changelog::Chain;

use super::{Counter, CounterGenesis, CounterRecord, Sum, file};
use crate::{BEGUN_MS, Content, Reached, Subject};

/// The [`Counter`], in the suite.
#[derive(Debug)]
pub struct CounterSubject;

impl Subject for CounterSubject {
    type State = Counter;
    type Known = Sum;

    fn settings() {}

    fn genesis(seed: u64) -> CounterGenesis {
        CounterGenesis { seed }
    }

    fn encode(lane: u32, chain: Chain, content: &Content<CounterGenesis>) -> Vec<u8> {
        let record = CounterRecord { chain, clock_ms: BEGUN_MS, ..CounterRecord::default() };
        let record = match content.clone() {
            Content::Genesis(genesis) => {
                CounterRecord { genesis: Some(genesis), has_all_positions: chain.before.is_none(), ..record }
            }
            Content::Checkpoint(genesis, Reached { clock_ms, positions, .. }) => CounterRecord {
                genesis: Some(genesis),
                clock_ms,
                positions,
                has_all_positions: true,
                number: None,
                ..record
            },
            Content::Batch(number, Reached { clock_ms, positions, has_all_positions }) => {
                CounterRecord { number: Some(number), clock_ms, positions, has_all_positions, ..record }
            }
            Content::Mark => CounterRecord { chain: Chain::default(), is_mark: true, ..record },
        };
        record.encode(lane)
    }

    fn make_newer(record: &mut [u8]) {
        record[0] = 2;
    }

    fn known(state: &Counter) -> Sum {
        state.known()
    }

    fn known_of(numbers: &[u64]) -> Sum {
        numbers.iter().fold(Sum::default(), |sum, number| sum.plus(*number))
    }

    fn decide(state: &mut Counter, number: u64) {
        state.decide(number);
    }

    fn keep(state: Counter) {
        state.keep().unwrap();
    }

    fn damage_kept(dir: &Path) {
        change(dir, |bytes| bytes[40] ^= 1);
    }

    fn make_kept_newer(dir: &Path) {
        change(dir, |bytes| bytes[0] = 2);
    }
}

fn change(dir: &Path, change: impl FnOnce(&mut [u8])) {
    let path = file::path(dir);
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
