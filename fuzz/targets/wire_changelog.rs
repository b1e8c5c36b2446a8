//! Bytes of a changelog topic: decoded or refused by name; what is decoded is encoded and decoded to the same again.
#![cfg_attr(fuzzing, no_main)]

use wire::changelog::{Record, encode_batch, encode_checkpoint, encode_genesis, record_bytes};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) fn run(bytes: &[u8]) {
    check(bytes);
    // A checksum that holds leads further in.
    if bytes.len() >= 24 {
        let mut sealed = bytes.to_vec();
        let body_end = sealed.len() - 8;
        sealed[..5].copy_from_slice(b"TSCL\x01");
        sealed[6..8].fill(0);
        sealed[12..16].copy_from_slice(&(body_end as u32 - 16).to_le_bytes());
        let sum = xxh3_64(&sealed[..body_end]);
        sealed[body_end..].copy_from_slice(&sum.to_le_bytes());
        check(&sealed);
    }
}

fn check(bytes: &[u8]) {
    let _ = record_bytes(bytes);
    let Ok((partition, record)) = Record::decode(bytes) else { return };
    assert_eq!(record_bytes(bytes), Ok(bytes.len()));
    let mut again = Vec::new();
    match &record {
        Record::Genesis(genesis) => encode_genesis(&mut again, partition, genesis),
        Record::Checkpoint(checkpoint) => encode_checkpoint(&mut again, partition, checkpoint),
        Record::Batch(batch) => {
            let entries: Vec<_> = batch.entries.iter().collect();
            assert_eq!(entries.len(), batch.entries.len());
            encode_batch(&mut again, partition, batch.clock_ms, &batch.positions, batch.output, &entries);
            // Runs that could have been one are.
            let Ok((_, Record::Batch(encoded))) = Record::decode(&again) else { panic!("what was encoded is refused") };
            assert!(encoded.entries.iter().eq(entries));
            return;
        }
    }
    assert_eq!(Record::decode(&again), Ok((partition, record)));
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
