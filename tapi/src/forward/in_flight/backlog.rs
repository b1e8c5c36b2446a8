//! What waits in the local buffer: read in order, forgotten up to its floor, or set aside in its quarantine.

use std::fmt;
use std::time::Duration;

use local_buffer::{Batch, Reader, RecordId};
use tracing::{error, warn};

/// Bytes of one batch, unless a single record is larger.
const BATCH_BYTES_MAX: usize = 256 << 10;

/// Why the drain does not go on, in the words of the local buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// It cannot be read.
    Unread(String),
    /// It cannot keep a record that no cluster takes.
    Unkept(String),
}

impl fmt::Display for Blocked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unread(error) => out.write_str(error),
            Self::Unkept(error) => write!(out, "a record that no cluster takes cannot be set aside: {error}"),
        }
    }
}

/// What waits in the local buffer.
pub(crate) struct Backlog {
    reader: Reader,
    /// The last read found nothing more.
    is_read: bool,
    quarantined: u64,
    blocked: Option<Blocked>,
}

impl Backlog {
    /// All that the reader has not delivered.
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader, is_read: false, quarantined: 0, blocked: None }
    }

    /// Reads on into `batch`. Says whether anything was read, and so there may be more.
    pub(super) fn read(&mut self, batch: &mut Batch, records_max: usize) -> bool {
        let read = self.reader.read(batch, records_max, BATCH_BYTES_MAX);
        self.is_read = matches!(read, Ok(0));
        match read {
            Ok(count) => {
                if matches!(self.blocked, Some(Blocked::Unread(_))) {
                    self.blocked = None;
                }
                count > 0
            }
            Err(error) => {
                if self.is_news(Blocked::Unread(error.to_string())) {
                    error!(%error, "the local buffer cannot be read; it is tried again");
                }
                false
            }
        }
    }

    /// Keeps a record that nobody takes in the quarantine. Says whether it is there; where it is not, the record must
    /// not be forgotten.
    pub(super) fn set_aside(&mut self, id: RecordId, record: &[u8], reason: &str) -> bool {
        match self.reader.quarantine(id, record, reason) {
            Ok(()) => {
                warn!(%id, reason, "a record was set aside in the quarantine");
                self.quarantined += 1;
                if matches!(self.blocked, Some(Blocked::Unkept(_))) {
                    self.blocked = None;
                }
                true
            }
            Err(error) => {
                if self.is_news(Blocked::Unkept(error.to_string())) {
                    error!(%id, reason, %error, "a record cannot be set aside; the floor stands until it can");
                }
                false
            }
        }
    }

    /// Notes why it does not go on; whether that was not known yet.
    fn is_news(&mut self, blocked: Blocked) -> bool {
        let is_news = self.blocked.as_ref() != Some(&blocked);
        self.blocked = Some(blocked);
        is_news
    }

    /// Everything below `end` is done.
    pub(super) fn forget(&mut self, end: RecordId) {
        if let Err(error) = self.reader.acknowledge(end) {
            error!(%error, "the floor does not move");
        }
    }

    /// What was forgotten stays forgotten after a restart.
    pub(super) fn sync_floor(&mut self) {
        if let Err(error) = self.reader.sync_floor() {
            warn!(%error, "the floor is not durable: some records will be sent again");
        }
    }

    /// Waits until there is something to read or somebody wants something, at most so long.
    pub(super) fn wait(&self, limit: Duration) {
        let _ = self.reader.wait(limit);
    }

    /// Whether the last read found nothing more.
    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    /// Records that nobody took, kept in the quarantine since the start.
    pub(super) fn quarantined(&self) -> u64 {
        self.quarantined
    }

    /// Why the drain does not go on, if it does not.
    pub(super) fn blocked(&self) -> Option<&Blocked> {
        self.blocked.as_ref()
    }
}
