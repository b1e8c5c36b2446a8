//! The copier's state: the numbers that the log has, in their order. It keeps nothing on disk, so it is made from the first
//! record each time.

use std::convert::Infallible;
use std::path::Path;

use changelog::{Applied, LogId, Mistrust, Point, Said, State, Undecodable};
use wire::Window;
use wire::changelog::{Framed, Genesis, Record};

/// The numbers so far.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) numbers: Vec<u64>,
    applied: Option<Point>,
}

impl Copied {
    /// A batch of them is committed.
    pub(crate) fn committed(&mut self, numbers: &[u64], at: Point) {
        self.numbers.extend_from_slice(numbers);
        self.applied = Some(at);
    }
}

impl State for Copied {
    type Genesis = Genesis;
    type Settings = ();
    type Error = Infallible;
    type Record<'r> = Framed<'r>;

    fn open(_: &Path, _: LogId, _: &Genesis, (): &()) -> Result<Self, Infallible> {
        Ok(Self::default())
    }

    fn destroy(_: &Path) -> Result<(), Infallible> {
        Ok(())
    }

    fn mistrust(_: &Infallible) -> Option<Mistrust> {
        None
    }

    fn window(genesis: &Genesis) -> Window {
        genesis.window
    }

    fn decode(record: &[u8]) -> Result<Framed<'_>, Undecodable> {
        Framed::decode(record).map_err(|error| Undecodable::Damaged(error.reason()))
    }

    fn said<'s>(Framed { chain, record, .. }: &'s Framed<'_>) -> Said<'s, Genesis> {
        let (genesis, clock_ms, positions, entries): (_, _, &[_], _) = match record {
            Record::Genesis(genesis) => (Some(*genesis), genesis.created_ms, &[], 0),
            Record::Checkpoint(found) => (Some(found.genesis), found.clock_ms, &found.positions, 0),
            Record::Batch(batch) => (None, batch.clock_ms, &batch.positions, batch.entries.len() as u64),
            Record::Mark(_) => (None, 0, &[], 0),
        };
        let (is_genesis, is_mark) = (matches!(record, Record::Genesis(_)), matches!(record, Record::Mark(_)));
        let chain = *chain;
        Said { genesis, is_genesis, is_mark, chain, clock_ms, positions, has_all_positions: !is_mark, entries }
    }

    fn applied(&self) -> Option<Point> {
        self.applied
    }

    fn apply(&mut self, _: u64, next: Point, framed: &Framed<'_>) -> Result<Applied, Infallible> {
        if self.applied.is_some_and(|point| next.next_offset <= point.next_offset) {
            return Ok(Applied::Covered);
        }
        if let Record::Batch(batch) = &framed.record {
            self.numbers.extend(batch.entries.iter().map(|(digest, _)| digest.0 as u64));
        }
        self.applied = Some(next);
        Ok(Applied::Yes)
    }

    fn discard(&mut self) {}
}
