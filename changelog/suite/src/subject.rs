//! What the suite needs of a kind of state.

use std::fmt::Debug;
use std::path::Path;

use changelog::State;
use wire::Window;
use wire::changelog::{Chain, LogPositions};

/// When every genesis was made, milliseconds since the Unix epoch; a whole bucket.
pub const BEGUN_MS: i64 = 1_700_000_000_000;

/// The window of every genesis: buckets of a second, of which five are kept beside the clock's own.
///
/// # Panics
/// Never: the lengths are within the bounds.
pub fn window() -> Window {
    Window::try_new(1000, 4, 1).expect("lengths within the bounds")
}

/// What a checkpoint or a batch says beside its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
    /// How far the inputs have been read.
    pub positions: Vec<LogPositions>,
    /// Whether these are all there are.
    pub has_all_positions: bool,
}

/// What is in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content<G> {
    /// The genesis.
    Genesis(G),
    /// The genesis again.
    Checkpoint(G, Reached),
    /// One number.
    Batch(u64, Reached),
    /// The log is made again from here.
    Mark,
}

/// A kind of state, and its records: each batch holds one number, from 1 to 20.
pub trait Subject {
    /// The state.
    type State: State<Error: Debug>;
    /// What it knows of the numbers.
    type Known: PartialEq + Debug;

    /// How it is kept.
    fn settings() -> <Self::State as State>::Settings;

    /// A genesis with this seed, with [`window`], made at [`BEGUN_MS`].
    fn genesis(seed: u64) -> <Self::State as State>::Genesis;

    /// A record of this lane, behind those of the chain.
    fn encode(lane: u32, chain: Chain, content: &Content<<Self::State as State>::Genesis>) -> Vec<u8>;

    /// Makes a record one of a newer version of the format.
    fn make_newer(record: &mut [u8]);

    /// What the state knows.
    fn known(state: &Self::State) -> Self::Known;

    /// What a state knows that was given these numbers.
    fn known_of(numbers: &[u64]) -> Self::Known;

    /// Decides on a number, and does not commit it.
    fn decide(state: &mut Self::State, number: u64);

    /// Makes durable what was applied, and closes it.
    fn keep(state: Self::State);

    /// Damages what is kept in `dir`.
    fn damage_kept(dir: &Path);

    /// Makes what is kept in `dir` one of a newer version, undamaged.
    fn make_kept_newer(dir: &Path);
}
