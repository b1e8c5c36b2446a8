//! Why a partition is not worked on, sorted by what follows.

use dedup::{IndexError, Remedy};
use kafka::Failure;

/// Why the work on a partition ended.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Everything that is believed is dropped, and begun again from what the changelog says, after a pause.
    #[error("{0}")]
    Again(String),
    /// The index on disk lies: it is thrown away, then as [`Fault::Again`].
    #[error("the index is thrown away and made again: {0}")]
    Index(String),
    /// What the changelog or its topics hold is not to be worked on, and somebody has to decide. Every worker would refuse
    /// it, so the partition stays with its owner, who looks again and takes no fence meanwhile.
    #[error("{0}")]
    RefusedByLog(String),
    /// This host cannot work on it: its clock, its disk, its build. Others may.
    #[error("{0}")]
    RefusedHere(String),
    /// The partition is somebody else's by now, or the process stops. Nothing is wrong.
    #[error("the partition was given up")]
    Released,
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Again(failure.to_string())
    }
}

impl From<IndexError> for Fault {
    fn from(error: IndexError) -> Self {
        match (error.remedy(), &error) {
            (Remedy::Rebuild, _) | (_, IndexError::Foreign { .. }) => Self::Index(error.to_string()),
            // The owner before, in this process, may still be letting go.
            (Remedy::Retry, _) | (_, IndexError::Locked(_)) => Self::Again(error.to_string()),
            (Remedy::Stop, _) => Self::RefusedHere(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_remedy_has_its_consequence() {
        assert!(matches!(Fault::from(IndexError::Damaged("x".into())), Fault::Index(_)));
        assert!(matches!(Fault::from(IndexError::Version(9)), Fault::RefusedHere(_)));
        assert!(matches!(Fault::from(IndexError::Locked("x".into())), Fault::Again(_)));
        let full = IndexError::Full { what: "x", count: 2, count_max: 1 };
        assert!(matches!(Fault::from(full), Fault::Again(_)));
    }
}
