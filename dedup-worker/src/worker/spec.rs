//! What a lane of the dedup worker is to [`ownership`].

use std::path::{Path, PathBuf};
use std::time::Duration;

use changelog::{Beginning, RestoreError};
use dedup::{IndexError, Remedy};
use kafka::Cluster;
use ownership::{Budget, Fault, Log, Spec};
use wire::topic::EVENTS_INDEX;

use super::topics;
use crate::crash;

/// What an index's folder is called, before its lane's number.
const FOLDER: &str = "index";
/// What the fence's transactional id begins with.
const FENCE: &str = "turnstile.events.index";

/// Bytes that batches and restores of one process may hold together where nothing else is said.
pub(crate) const MEMORY_BYTES_MAX: usize = 48 << 20;

/// Everything that is said of a fence, a log and a folder, in one place.
pub fn spec(cluster: Cluster, group: String, session: Duration, transaction_max: Duration, data: PathBuf) -> Spec {
    Spec {
        cluster,
        log: topics::EVENTS_INDEX,
        topic: EVENTS_INDEX,
        outputs: &[topics::EVENTS_DEDUPED],
        fence: FENCE,
        group,
        member: None,
        session,
        transaction_max,
        data,
        folder: FOLDER,
        beginning: Beginning::MustBeThere,
        lane_of: wire::changelog::lane_of,
        remedy: "make it again with `dedup-worker rebuild --from events.deduped`",
        remedy_beginning: "go on with what is left with `dedup-worker run --begin-anew`",
        memory: Budget::new(MEMORY_BYTES_MAX),
        is_shadow: false,
        at: crash::at,
    }
}

/// Folder of one lane's index below the data folder.
pub fn index_dir(data: &Path, lane: u32) -> PathBuf {
    data.join(format!("{FOLDER}-{lane:05}"))
}

/// The lane whose index's folder this is, by its name; `None` where it is none.
pub(crate) fn lane_of_dir(dir: &Path) -> Option<u32> {
    let digits = dir.file_name()?.to_str()?.strip_prefix(FOLDER)?.strip_prefix('-')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// The one transactional id of a lane, the same for every worker there will ever be.
pub fn transactional_id(lane: u32) -> String {
    format!("{FENCE}.{lane}")
}

/// What an error of the index means.
pub fn fault(error: &IndexError) -> Fault {
    match (error.remedy(), error) {
        (Remedy::Rebuild, _) | (_, IndexError::Foreign { .. }) => Fault::Lies(error.to_string()),
        // The owner before, in this process, may still be letting go.
        (Remedy::Retry, _) | (_, IndexError::Locked(_)) => Fault::Again(error.to_string()),
        (Remedy::Stop, _) => Fault::RefusedHere(error.to_string()),
    }
}

/// What follows where a changelog was not read to its end, or must not be.
pub fn refused(changelog: &Log<'_>, error: RestoreError<Fault, IndexError>) -> Fault {
    changelog.refused(error, |error| fault(&error))
}

#[cfg(test)]
mod tests {
    use kafka::{TopicFacts, Watermarks};
    use ownership::{Reading, never};
    use service::Properties;

    use super::*;

    #[test]
    fn each_remedy_has_its_consequence() {
        assert!(matches!(fault(&IndexError::Damaged("x".into())), Fault::Lies(_)));
        assert!(matches!(fault(&IndexError::Version(9)), Fault::RefusedHere(_)));
        assert!(matches!(fault(&IndexError::Locked("x".into())), Fault::Again(_)));
        let full = IndexError::Full { what: "x", count: 2, count_max: 1 };
        assert!(matches!(fault(&full), Fault::Again(_)));
    }

    fn said(error: RestoreError<Fault, IndexError>) -> String {
        let cluster = Cluster::new("test", "output", "127.0.0.1:1", Properties::default());
        let spec = spec(cluster, "g".into(), Duration::ZERO, Duration::ZERO, "data".into());
        let facts = TopicFacts {
            cluster_id: "c".into(),
            topic_id: [1; 16],
            partition_count: 4,
            replicas_min: 1,
            ..TopicFacts::default()
        };
        let marks = Watermarks { low: 0, high: 9 };
        let log = Log { spec: &spec, facts: &facts, lane: 3, marks, reading: &Reading::default(), is_stopped: &never };
        match refused(&log, error) {
            Fault::RefusedByLog(said) => said,
            other => other.to_string(),
        }
    }

    #[test]
    fn what_is_refused_says_what_to_do() {
        let remedy = "rebuild --from events.deduped";
        let damaged = said(RestoreError::Damaged { at: 7, why: "its checksum does not match its bytes" });
        assert!(
            damaged.starts_with("events.index 3 is damaged at 7: its checksum") && damaged.contains(remedy),
            "{damaged}"
        );
        let cut = said(RestoreError::BeginsInsideWindow { at: 9 });
        assert!(cut.contains("begins in the middle of the window, at 9") && cut.contains("--begin-anew"), "{cut}");
        let newer = said(RestoreError::Newer { at: 9, version: 2 });
        assert!(
            !newer.contains("rebuild"),
            "the truth of a newer program is not to be written in an old format: {newer}"
        );
        let unfinished = said(RestoreError::Unfinished);
        assert!(unfinished.contains("a rebuild was interrupted") && unfinished.contains(remedy), "{unfinished}");
        assert_eq!(said(RestoreError::Stopped), Fault::Released.to_string());
    }

    #[test]
    fn names_are_one() {
        let cluster = Cluster::new("test", "output", "127.0.0.1:1", Properties::default());
        let spec = spec(cluster, "g".into(), Duration::ZERO, Duration::ZERO, "data".into());
        assert_eq!((spec.dir(7), spec.transactional_id(7)), (index_dir(Path::new("data"), 7), transactional_id(7)));
        assert_eq!(lane_of_dir(&index_dir(Path::new("data"), 123_456)), Some(123_456));
    }
}
