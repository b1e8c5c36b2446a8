//! In place of the reader of a topic, where this library is built without its feature `kafka`.

use service::Properties;

use super::source::{Found, Look, Place};
use crate::Error;

/// What an address of a topic begins with.
const SCHEME: &str = "kafka://";

/// There is none.
#[derive(Debug)]
pub(super) enum Topic {}

impl Topic {
    /// Refuses what names a topic; nothing where it names none.
    pub(super) fn connect(output: &str, _: &Properties) -> Option<Result<Self, Error>> {
        let refused = || Err(Error::Usage(format!("--output {output}: this program was built without Kafka")));
        output.starts_with(SCHEME).then(refused)
    }

    pub(super) fn look(&self) -> Look {
        match *self {}
    }

    pub(super) fn partitions(&self) -> usize {
        match *self {}
    }

    pub(super) fn read<R: Send>(
        &self,
        _: usize,
        _: impl Fn() -> R + Sync,
        _: impl Fn(&mut R, Place<'_>, Found<'_>) + Sync,
    ) -> Result<(Vec<R>, u64), Error> {
        match *self {}
    }
}
