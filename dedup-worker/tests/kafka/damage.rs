//! Fault: bits of a stopped worker's index flip.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::Rng as _;

use super::scene::{Scene, chaos, random};

const LIMIT: Duration = Duration::from_secs(50);

/// The files below `folder` whose name begins or ends like this.
fn files(folder: &Path, name: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &PathBuf| {
        let file = path.file_name().unwrap().to_string_lossy();
        path.is_file() && (file.starts_with(name) || file.ends_with(name))
    };
    entries.filter(named).collect()
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    let bit = bit % (bytes.len() * 8);
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).unwrap();
}

/// In a run's identities, in its filter, in the store's own books, in the file that says whose the index is: one of them
/// in each lane, and all of what was published before is sent again.
#[test]
fn an_index_with_flipped_bits_is_made_again() {
    let scene = Scene::new();
    let mut output = scene.output();
    let mut random = random();
    let mut count = 0;
    for _ in 0..if chaos() { 20 } else { 1 } {
        let worker = scene.run("one");
        scene.primary.produce(0..count + 3_000);
        count += 3_000;
        output.wait_for(count as usize, LIMIT);
        worker.stop();
        for (lane, (folder, name)) in
            [("store", ".sst"), ("store", ".sst"), ("store", "MANIFEST"), (".", "identity")].into_iter().enumerate()
        {
            let index = scene.folder().join(format!("one/index-{lane:05}"));
            let file = files(&index.join(folder), name).pop().unwrap_or_else(|| panic!("no {name} in {folder}"));
            let bytes = fs::metadata(&file).unwrap().len() as usize;
            // A table ends with its filter and what describes it; it begins with identities.
            let place = match lane {
                0 => random.random_range(0..bytes / 2 * 8),
                1 => random.random_range(bytes / 4 * 3 * 8..bytes * 8),
                _ => random.random_range(0..bytes * 8),
            };
            println!("{}: bit {place} of {bytes} bytes", file.display());
            flip(&file, place);
        }
        let worker = scene.run("one");
        scene.secondary.produce(0..count + 1_000);
        count += 1_000;
        output.wait_for(count as usize, LIMIT);
        output.assert_each_once(count);
        // A bit that nobody reads may flip without a consequence; identities and the owner's name are always read.
        assert!(worker.metric("dedup_indexes_thrown_away_total") >= 2, "{}", worker.log());
        worker.stop();
        let verified = scene.ask("one", &["verify"]).unwrap();
        assert!(verified.contains("0 differences"), "{verified}");
    }
}
