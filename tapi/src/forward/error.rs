//! Why the drain did not start.

use std::path::PathBuf;

use super::clusters::Misfit;
use super::router::Cluster;

/// What the drain could not do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    /// A property that librdkafka does not take. Change the settings.
    #[error("the Kafka settings cannot be used: {0}")]
    Settings(#[from] kafka::Failure),
    /// A cluster that must not be drained to. Change the cluster or the settings.
    #[error("the {cluster} Kafka cluster cannot be used: {misfit}")]
    Misfit {
        /// Which one.
        cluster: Cluster,
        /// Why.
        misfit: Misfit,
    },
    /// Those who say how many lanes there are differ. Do what it says.
    #[error("the number of lanes: {0}")]
    Lanes(String),
    /// The file that remembers the number of lanes. Look at the disk.
    #[error("{}: {source}", path.display())]
    Memory {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The operating system refuses a thread.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] std::io::Error),
}
