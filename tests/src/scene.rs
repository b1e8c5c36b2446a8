//! What every scenario has: the machine for itself, a directory, a seed, and a voice.

use std::env;
use std::fmt::Display;
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tempfile::TempDir;

/// Scenarios measure and overload; two at once would judge each other's load.
static MACHINE: Mutex<()> = Mutex::new(());

/// Whether the long forms were asked for (`make chaos`).
pub fn chaos() -> bool {
    env::var_os("TESTS_CHAOS").is_some_and(|value| value == "1")
}

/// One running scenario.
#[derive(Debug)]
pub struct Scene {
    name: String,
    begun: Instant,
    folder: Option<TempDir>,
    seed: u64,
    _machine: MutexGuard<'static, ()>,
}

impl Scene {
    /// Waits for the machine and makes the scenario's folder, which is kept when the scenario fails.
    ///
    /// # Panics
    /// Where no folder can be made.
    pub fn begin() -> Self {
        let machine = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = std::thread::current().name().unwrap_or("scenario").to_owned();
        let seed = env::var("TESTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(entropy);
        // Not $TMPDIR: that is memory on many machines, and the promises here are about a disk.
        let folder =
            tempfile::Builder::new().prefix("turnstile-").tempdir_in(scenes()).expect("a folder for the scenario");
        let scene = Self { name, begun: Instant::now(), folder: Some(folder), seed, _machine: machine };
        scene.say(format_args!("begins, TESTS_SEED={seed}"));
        scene
    }

    /// The scenario's own folder.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().expect("kept until the end").path()
    }

    /// Random choices, the same again where `TESTS_SEED` is set to the printed seed.
    pub fn rng(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }

    /// A seed for load number `n` of this scenario, different for every scenario and run.
    pub fn load_seed(&self, n: u64) -> u64 {
        self.seed.wrapping_add(n)
    }

    /// Prints a line past libtest's capture: figures of passing scenarios are worth reading.
    pub fn say(&self, line: impl Display) {
        let _ = writeln!(std::io::stderr(), "  {}: {line}", self.name);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let seconds = self.begun.elapsed().as_secs_f64();
        if std::thread::panicking() {
            let folder = self.folder.take().expect("kept until the end").keep();
            self.say(format_args!("FAILED after {seconds:.1} s, what it left is in {}", folder.display()));
        } else {
            self.say(format_args!("held, {seconds:.1} s"));
        }
    }
}

/// A different number each time; the standard library seeds its hash maps with one.
pub(crate) fn entropy() -> u64 {
    RandomState::new().hash_one(())
}

/// Scenario folders lie beside the programs: on the disk that builds use.
pub(crate) fn scenes() -> PathBuf {
    let folder = crate::program::target_folder().join("scenes");
    std::fs::create_dir_all(&folder).expect("a folder beside the programs");
    folder
}
