//! Which of a fixed number of slots a key falls into, so that nobody outside can choose one.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher as _;
use std::sync::atomic::{AtomicU64, Ordering};

/// A seed that can be kept over a restart, and be put in place of the one that a process began with.
#[derive(Debug)]
pub(crate) struct Seed([AtomicU64; 2]);

impl Seed {
    pub(crate) fn random() -> Self {
        let word = || AtomicU64::new(getrandom::u64().expect("the operating system has a random source"));
        Self([word(), word()])
    }

    pub(crate) fn get(&self) -> [u64; 2] {
        [&self.0[0], &self.0[1]].map(|word| word.load(Ordering::Relaxed))
    }

    pub(crate) fn set(&self, words: [u64; 2]) {
        self.0.iter().zip(words).for_each(|(word, new)| word.store(new, Ordering::Relaxed));
    }

    pub(crate) fn hash(&self, key: &[u8]) -> u64 {
        hash(self.get(), key)
    }

    /// What tells whether a seed puts keys where it did in the build that wrote it down.
    pub(crate) fn check(words: [u64; 2]) -> u64 {
        hash(words, b"turnstile")
    }
}

/// SipHash as the standard library has it, over the seed and the key.
fn hash(words: [u64; 2], key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for word in words {
        hasher.write(&word.to_le_bytes());
    }
    hasher.write(key);
    hasher.finish()
}
