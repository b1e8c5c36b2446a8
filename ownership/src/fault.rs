//! Why a lane is not worked on, sorted by what follows.

use kafka::Failure;

/// Why the work on a lane ended.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Everything that was not committed is discarded, and the lane begun again after a pause.
    #[error("{0}")]
    Again(String),
    /// What is kept of the state lies: it is thrown away, then as [`Fault::Again`].
    #[error("what was kept is thrown away and made again: {0}")]
    Lies(String),
    /// What the log holds is not to be worked on, and somebody has to decide. Every worker would refuse it, so the lane stays
    /// with its owner, who looks again and takes no fence meanwhile.
    #[error("{0}")]
    RefusedByLog(String),
    /// This host cannot work on it: its clock, its disk, its build. Others may.
    #[error("{0}")]
    RefusedHere(String),
    /// The lane is somebody else's by now, or the process stops. Nothing is wrong.
    #[error("the lane was given up")]
    Released,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Again(failure.to_string())
    }
}
