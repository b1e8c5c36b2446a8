//! The counter as a state under test.

use std::fs;
use std::path::Path;

use super::{Counter, CounterGenesis, CounterRecord, Sum, file};
use crate::{BEGUN_MS, Content, Subject};

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

    fn encode(partition: u32, content: &Content<CounterGenesis>) -> Vec<u8> {
        let (genesis, number, reached) = match content {
            Content::Genesis(genesis) => (Some(*genesis), None, None),
            Content::Checkpoint(genesis, reached) => (Some(*genesis), None, Some(reached)),
            Content::Batch(number, reached) => (None, Some(*number), Some(reached)),
        };
        let clock_ms = reached.map_or(BEGUN_MS, |reached| reached.clock_ms);
        let positions = reached.map(|reached| reached.positions.clone());
        CounterRecord { genesis, number, clock_ms, positions }.encode(partition)
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
