//! The index as a state under the suite of changelogs. Tests of the crates that have a log for it include this file.

use std::fs;
use std::path::Path;

use changelog_suite::{BEGUN_MS, Content, Reached, Subject, window};
use dedup::{Candidate, Index, Options};
use wire::changelog::{
    Chain, Checkpoint, Genesis, Mark, Moved, Output, VERSION, encode_batch, encode_checkpoint, encode_genesis,
    encode_mark,
};
use wire::{Digest, DigestSeed, LaneCount};

/// The [`Index`], in the suite.
#[derive(Debug)]
pub(crate) struct IndexSubject;

/// The place of the checksum in an identity, which covers all before it.
const IDENTITY_CHECKSUM_AT: usize = 60;

fn digest(number: u64) -> Digest {
    Digest(u128::from(number) << 64)
}

impl Subject for IndexSubject {
    type State = Index;
    type Known = Vec<u64>;

    fn settings() -> Options {
        Options::default()
    }

    fn genesis(seed: u64) -> Genesis {
        Genesis { lanes: LaneCount::ONE, seed: DigestSeed(seed), window: window(), created_ms: BEGUN_MS }
    }

    fn encode(lane: u32, chain: Chain, content: &Content<Genesis>) -> Vec<u8> {
        let mut out = Vec::new();
        match content {
            Content::Genesis(genesis) => encode_genesis(&mut out, lane, chain, genesis),
            Content::Checkpoint(genesis, Reached { clock_ms, positions, .. }) => {
                let (genesis, positions, clock_ms) = (*genesis, positions.clone(), *clock_ms);
                encode_checkpoint(&mut out, lane, chain, &Checkpoint { genesis, positions, clock_ms });
            }
            Content::Batch(number, Reached { clock_ms, positions, has_all_positions }) => {
                let entries = [(digest(*number), window().at(*clock_ms))];
                let moved = Moved { positions, is_all: *has_all_positions };
                encode_batch(&mut out, (lane, chain), *clock_ms, moved, Output::None, &entries);
            }
            Content::Mark => encode_mark(&mut out, lane, &Mark { rebuild: [3; 16], created_ms: BEGUN_MS }),
        }
        out
    }

    fn make_newer(record: &mut [u8]) {
        record[4] = VERSION + 1;
    }

    fn known(state: &Index) -> Vec<u64> {
        (1..=20).filter(|number| state.lookup(digest(*number)).unwrap().is_some()).collect()
    }

    fn known_of(numbers: &[u64]) -> Vec<u64> {
        numbers.to_vec()
    }

    fn decide(state: &mut Index, number: u64) {
        let candidate = Candidate { digest: digest(number), received_at_ms: BEGUN_MS };
        let mut verdicts = Vec::new();
        let _uncommitted = state.decide(&[candidate], BEGUN_MS, BEGUN_MS, &mut verdicts).unwrap();
    }

    fn keep(mut state: Index) {
        state.seal().unwrap();
    }

    fn damage_kept(dir: &Path) {
        change_identity(dir, |bytes| bytes[20] ^= 1);
    }

    fn make_kept_newer(dir: &Path) {
        change_identity(dir, |bytes| {
            bytes[4] += 1;
            let checksum = crc32c::crc32c(&bytes[..IDENTITY_CHECKSUM_AT]);
            bytes[IDENTITY_CHECKSUM_AT..].copy_from_slice(&checksum.to_le_bytes());
        });
    }
}

fn change_identity(dir: &Path, change: impl FnOnce(&mut [u8])) {
    let path = dir.join("identity");
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}
