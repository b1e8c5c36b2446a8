//! A log that cannot be read to its end.

use std::ops::{ControlFlow, Range};

use changelog::{Log, LogId, Placed, Start};

/// Hands over so many records, and fails at the next.
pub(crate) struct Breaking<L> {
    pub(crate) log: L,
    pub(crate) records: usize,
}

/// Why it cannot be read.
#[derive(Debug)]
pub(crate) enum Broken<E> {
    /// It was to.
    AsAsked,
    /// It really cannot.
    Log(E),
}

impl<L: Log> Log for Breaking<L> {
    type Error = Broken<L::Error>;

    fn id(&self) -> LogId {
        self.log.id()
    }

    fn bounds(&mut self) -> Result<Range<u64>, Self::Error> {
        self.log.bounds().map_err(Broken::Log)
    }

    fn read(
        &mut self,
        start: Start,
        each: &mut dyn FnMut(Placed, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Self::Error> {
        let (mut left, mut is_broken) = (self.records, false);
        let read = self.log.read(start, &mut |placed, bytes| {
            if left == 0 {
                is_broken = true;
                return ControlFlow::Break(());
            }
            left -= 1;
            each(placed, bytes)
        });
        read.map_err(Broken::Log)?;
        if is_broken { Err(Broken::AsAsked) } else { Ok(()) }
    }
}
