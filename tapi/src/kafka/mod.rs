//! Everything that speaks to Kafka beside the producer itself: settings with their reasons, and looking at a cluster
//! before it is used.

mod contact;
mod partitions;
mod settings;
mod topics;

pub use contact::{Board, Contacts};
pub use partitions::Memory;
pub use settings::{Role, check, client_config};
pub use topics::{Facts, Misfit, fit, warnings};

use std::path::PathBuf;

/// What a Kafka client could not do.
#[derive(Debug, thiserror::Error)]
pub enum KafkaError {
    /// A property that librdkafka does not take. Change the settings.
    #[error("the Kafka settings of the {cluster} cannot be used: {message}")]
    Settings {
        /// Whose they are.
        cluster: crate::forward::Cluster,
        /// What librdkafka said.
        message: String,
    },
    /// A cluster that must not be drained to. Change the cluster or the settings.
    #[error("the {cluster} Kafka cluster cannot be used: {misfit}")]
    Misfit {
        /// Which one.
        cluster: crate::forward::Cluster,
        /// Why.
        misfit: Misfit,
    },
    /// The file that remembers the partition count. Look at the disk.
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
