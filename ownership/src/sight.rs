//! How the log of a lane is seen, before the fence and behind it.

use std::time::{Duration, Instant};

use kafka::{Failure, Probe};

use crate::{Reading, Spec};

/// Time for an answer of the log's cluster.
const ANSWER: Duration = Duration::from_secs(10);
/// Longest wait for such a moment: as long as a fence takes without it.
const QUIET_MAX: Duration = Duration::from_millis(500);
/// Between two looks at whether it has ended.
const LOOK: Duration = Duration::from_millis(2);
/// From the end of a transaction, as it shows in the log, until its coordinator is done with it.
const ENDING: Duration = Duration::from_millis(3);

/// The clients that ask where the log of a lane ends, and read it. They are connected when the fence is taken, so what is done
/// behind it waits for no connection.
pub(crate) struct Sight {
    spec: &'static Spec,
    lane: u32,
    /// To this one the log ends behind every open transaction.
    pub(crate) whole: Probe,
    /// To this one it ends where the first open transaction begins.
    pub(crate) committed: Probe,
    pub(crate) reading: Reading,
}

impl Sight {
    /// Connects by itself.
    pub(crate) fn new(spec: &'static Spec, lane: u32) -> Result<Self, Failure> {
        let (whole, committed) = (Probe::new(&spec.cluster, ANSWER)?, Probe::committed(&spec.cluster, ANSWER)?);
        Ok(Self { spec, lane, whole, committed, reading: Reading::default() })
    }

    /// Waits for a moment in which nobody has a transaction open, as far as one comes. `seen` is where the log ended a while ago.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub(crate) fn await_quiet(&self, seen: u64, pause: impl Fn(Duration) -> bool) -> Result<(), Failure> {
        let end = |probe: &Probe| probe.watermarks(self.spec.topic, self.lane).map(|marks| marks.high);
        let (begun, mut quiet) = (Instant::now(), Quiet { seen, first: None, was_open: false });
        while begun.elapsed() < QUIET_MAX {
            let whole = end(&self.whole)?;
            match quiet.look(whole, end(&self.committed)?) {
                Moment::Now => break,
                Moment::Soon => {
                    pause(ENDING);
                    break;
                }
                Moment::Later if pause(LOOK) => break,
                Moment::Later => {}
            }
        }
        Ok(())
    }
}

/// Looks for a moment without a transaction: a fence that meets one undoes it, and is answered half a second later (librdkafka
/// 2.12.1, measured). Whoever hands a lane over pauses behind each, so such a moment is soon there.
#[derive(Debug)]
struct Quiet {
    /// Where the log ended a while ago.
    seen: u64,
    /// Where it ended when it was looked at first.
    first: Option<u64>,
    was_open: bool,
}

/// When the fence is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Now,
    /// A transaction has just ended.
    Soon,
    Later,
}

impl Quiet {
    /// The log ended at `whole`, and then, before the first open transaction, at `committed`.
    fn look(&mut self, whole: u64, committed: u64) -> Moment {
        let first = *self.first.get_or_insert(whole);
        if committed < whole {
            self.was_open = true;
            Moment::Later
        } else if whole == self.seen {
            // Nobody is at work.
            Moment::Now
        } else if self.was_open || whole != first {
            // The pause behind it has just begun.
            Moment::Soon
        } else {
            Moment::Later
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments<const N: usize>(looks: [(u64, u64); N]) -> [Moment; N] {
        let mut quiet = Quiet { seen: 10, first: None, was_open: false };
        looks.map(|(whole, committed)| quiet.look(whole, committed))
    }

    #[test]
    fn where_nobody_is_at_work_nobody_waits() {
        assert_eq!(moments([(10, 10)]), [Moment::Now]);
    }

    #[test]
    fn the_fence_comes_behind_the_end_of_a_transaction() {
        use Moment::{Later, Soon};
        assert_eq!(moments([(13, 12), (13, 12), (14, 14)]), [Later, Later, Soon]);
        assert_eq!(moments([(14, 14), (14, 14), (15, 14), (16, 16)]), [Later, Later, Later, Soon]);
        assert_eq!(moments([(14, 14), (16, 16)]), [Later, Soon], "one that was over before it was seen");
        assert_eq!(moments([(11, 10), (11, 10)]), [Later, Later], "a dead owner's is never over");
    }
}
