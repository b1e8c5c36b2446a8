//! Bytes of a changelog topic: decoded or refused by name; what is decoded is encoded and decoded to the same again.
#![cfg_attr(fuzzing, no_main)]

use wire::changelog::{
    Framed, Moved, Record, encode_batch, encode_checkpoint, encode_genesis, encode_mark, record_bytes,
};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) fn run(bytes: &[u8]) {
    check(bytes);
    // A checksum that holds leads further in.
    if bytes.len() >= 48 {
        let mut sealed = bytes.to_vec();
        let body_end = sealed.len() - 8;
        sealed[..5].copy_from_slice(b"TSCL\x02");
        sealed[6..8].fill(0);
        sealed[12..16].copy_from_slice(&(body_end as u32 - 40).to_le_bytes());
        let sum = xxh3_64(&sealed[..body_end]);
        sealed[body_end..].copy_from_slice(&sum.to_le_bytes());
        check(&sealed);
    }
}

fn check(bytes: &[u8]) {
    let _ = record_bytes(bytes);
    let Ok(framed) = Framed::decode(bytes) else { return };
    assert_eq!(record_bytes(bytes), Ok(bytes.len()));
    let mut again = Vec::new();
    let Framed { lane, chain, ref record } = framed;
    match record {
        Record::Genesis(genesis) => encode_genesis(&mut again, lane, chain, genesis),
        Record::Checkpoint(checkpoint) => encode_checkpoint(&mut again, lane, chain, checkpoint),
        Record::Mark(mark) => encode_mark(&mut again, lane, mark),
        Record::Batch(batch) => {
            let entries: Vec<_> = batch.entries.iter().collect();
            assert_eq!(entries.len(), batch.entries.len());
            let moved = Moved { positions: &batch.positions, is_all: batch.has_all_positions };
            encode_batch(&mut again, (lane, chain), batch.clock_ms, moved, batch.output, &entries);
            // Runs that could have been one are.
            let Ok(Framed { record: Record::Batch(encoded), .. }) = Framed::decode(&again) else {
                panic!("what was encoded is refused")
            };
            assert!(encoded.entries.iter().eq(entries));
            return;
        }
    }
    assert_eq!(Framed::decode(&again), Ok(framed));
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
