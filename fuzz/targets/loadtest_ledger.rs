//! Bytes of a ledger: read or refused; no outcome of a request that was never announced.
#![cfg_attr(fuzzing, no_main)]

use std::path::PathBuf;

use loadtest::ledger;

pub(crate) fn run(bytes: &[u8]) {
    check(bytes);
    // The same as frames whose checksums hold: kind, length, payload.
    let mut file = b"TSLEDGE1".to_vec();
    file.extend_from_slice(&[1; 16]);
    seal(&mut file, 0);
    let mut rest = bytes;
    while let Some((&[kind, length], tail)) = rest.split_first_chunk::<2>() {
        let (payload, tail) = tail.split_at(tail.len().min(usize::from(length)));
        let start = file.len();
        file.extend_from_slice(&[kind % 5, 0, 0, 0]);
        file.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        file.extend_from_slice(payload);
        seal(&mut file, start);
        rest = tail;
    }
    check(&file);
}

fn seal(file: &mut Vec<u8>, start: usize) {
    let sum = crc32c::crc32c(&file[start..]);
    file.extend_from_slice(&sum.to_le_bytes());
}

fn check(bytes: &[u8]) {
    let path: PathBuf = std::env::temp_dir().join(format!("turnstile-fuzz-ledger-{}", std::process::id()));
    std::fs::write(&path, bytes).expect("a file");
    let mut highest = None;
    if let Ok(summary) = ledger::read(&path, |entry| highest = highest.max(Some(entry.request))) {
        assert!(summary.torn_bytes <= bytes.len() as u64);
    }
    std::fs::remove_file(&path).expect("it is there");
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
