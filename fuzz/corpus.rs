//! Runs a fuzz target without a fuzzer: its corpus, and random changes of it from a fixed seed.

use std::path::Path;

/// Gives `run` each input of the corpus of `target`, and `changed` more that are made of them.
pub(crate) fn each(target: &str, changed: usize, run: impl Fn(&[u8])) {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let folder = above.map(|folder| folder.join("fuzz/corpus").join(target)).find(|folder| folder.is_dir());
    let folder = folder.unwrap_or_else(|| panic!("no corpus of {target}"));
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    names.sort();
    let inputs: Vec<_> = names.iter().map(|path| std::fs::read(path).expect("a file")).collect();
    assert!(!inputs.is_empty(), "no corpus in {}", folder.display());
    for input in &inputs {
        run(input);
    }
    // SplitMix64.
    let mut state = 1_u64;
    let mut dice = |sides: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides.max(1) as u64) as usize
    };
    for _ in 0..changed {
        let mut input = inputs[dice(inputs.len())].clone();
        for _ in 0..=dice(6) {
            let at = dice(input.len());
            match dice(6) {
                0 => input.truncate(at),
                1 => input.insert(at, dice(256) as u8),
                2 => {
                    let other = &inputs[dice(inputs.len())];
                    let from = dice(other.len());
                    input.extend_from_slice(&other[from..other.len().min(from + dice(64))]);
                }
                3 => {
                    let end = input.len().min(at + dice(9));
                    input[at.min(end)..end].fill([0, 0xff, 0x7f, b'"'][dice(4)]);
                }
                _ => {
                    if let Some(byte) = input.get_mut(at) {
                        *byte ^= 1 << dice(8);
                    }
                }
            }
        }
        run(&input);
    }
}
