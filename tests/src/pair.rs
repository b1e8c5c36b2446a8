//! Two clusters, a primary and a secondary: a scenario's own, or a pair that scenarios share.
//!
//! A start of both takes six seconds of two cores, so whoever needs nothing special of its brokers borrows the shared
//! pair. It gets them running, with topics made anew; what it breaks is repaired for the next one. A scenario that
//! fails takes its pair with it. Another shared pair has a primary of three brokers, for what one alone cannot show.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fs, process};

use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED};

use crate::scene::scenes;
use crate::{Cluster, Scene, topic};

/// Lanes, and so partitions of `events.index`.
pub const LANES: u32 = 4;
/// Partitions of every other topic.
pub const PARTITIONS: u32 = 16;

/// A third of the default, so that a restart takes 7 s instead of 13.
const SESSION_MS: u32 = 3_000;
/// Several within a session.
const HEARTBEAT_MS: u32 = 500;
/// Between two looks of a controller at who leads what.
const REBALANCE_S: u32 = 1;

/// A pair while nobody has it.
type Home = Mutex<Option<Kafka>>;

/// The shared pair.
static SHARED: Home = Mutex::new(None);
/// That with a primary of three brokers.
static OF_THREE: Home = Mutex::new(None);

/// A primary and a secondary cluster.
#[derive(Debug)]
pub struct Kafka {
    /// Where events go first; output and changelog lie here unless a scenario says otherwise.
    pub primary: Cluster,
    /// Where events go while the primary is away.
    pub secondary: Cluster,
}

/// A shared pair, borrowed.
#[derive(Debug)]
pub struct Shared {
    kafka: Option<Kafka>,
    home: &'static Home,
}

impl Kafka {
    /// Starts two new ones and waits for their answers; there are no topics yet.
    ///
    /// # Panics
    /// Where one does not answer.
    pub fn start(scene: &Scene) -> Self {
        Self::within(scene.folder(), |cluster| cluster)
    }

    /// The same, each described further before it is started.
    ///
    /// # Panics
    /// Where one does not answer.
    pub fn within(folder: &Path, describe: impl Fn(Cluster) -> Cluster) -> Self {
        let cluster = |name| describe(Cluster::within(folder, name));
        let mut kafka = Self { primary: cluster("primary"), secondary: cluster("secondary") };
        kafka.both(Cluster::launch);
        kafka.both(Cluster::answered);
        kafka
    }

    /// Borrows the shared pair, with topics that hold nothing: all four on both clusters.
    ///
    /// # Panics
    /// Where one does not answer.
    pub fn shared() -> Shared {
        Self::borrowed(&SHARED, Cluster::within)
    }

    /// The same of another pair, whose primary has three brokers.
    ///
    /// # Panics
    /// Where one does not answer.
    pub fn shared_of_three() -> Shared {
        Self::borrowed(&OF_THREE, Cluster::of_three)
    }

    fn borrowed(home: &'static Home, primary: impl Fn(&Path, &str) -> Cluster) -> Shared {
        let lent = home.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut kafka = lent.unwrap_or_else(|| {
            let folder = folder();
            let [primary, secondary] =
                [primary(&folder, "primary"), Cluster::within(&folder, "secondary")].map(|cluster| {
                    // A broker that was killed is let in again when the session of its former life has run out.
                    cluster
                        .set("broker.session.timeout.ms", SESSION_MS)
                        .set("broker.heartbeat.interval.ms", HEARTBEAT_MS)
                        // Who is back leads again what it led before, which by default takes up to five minutes.
                        .set("leader.imbalance.check.interval.seconds", REBALANCE_S)
                });
            Self { primary, secondary }
        });
        kafka.both(Cluster::repair);
        kafka.both(Cluster::answered);
        for cluster in [&kafka.primary, &kafka.secondary] {
            let topics = [EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED];
            topic::make_anew(cluster.address, &topics, &[]);
        }
        Shared { kafka: Some(kafka), home }
    }

    /// Does something to both.
    pub fn both(&mut self, mut act: impl FnMut(&mut Cluster)) {
        act(&mut self.primary);
        act(&mut self.secondary);
    }
}

impl Deref for Shared {
    type Target = Kafka;

    fn deref(&self) -> &Kafka {
        self.kafka.as_ref().expect("borrowed until it is dropped")
    }
}

impl DerefMut for Shared {
    fn deref_mut(&mut self) -> &mut Kafka {
        self.kafka.as_mut().expect("borrowed until it is dropped")
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            *self.home.lock().unwrap_or_else(PoisonError::into_inner) = self.kafka.take();
        }
    }
}

/// A new folder of this process's, and an end to those of processes that are gone.
fn folder() -> PathBuf {
    const PREFIX: &str = "kafka-";
    for entry in fs::read_dir(scenes()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_of = |id: &str| id.split('-').next().is_some_and(|id| Path::new("/proc").join(id).exists());
        if name.strip_prefix(PREFIX).is_some_and(|id| !is_of(id)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let folder = tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", process::id())).tempdir_in(scenes());
    folder.expect("a folder for the shared clusters").keep()
}
