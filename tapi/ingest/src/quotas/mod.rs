//! Daily quotas outlive a restart and a hand-over: what sources have sent of them lies in a small file.
//!
//! It is written every few seconds while anything changes, and once more when all requests are answered, into a new file
//! that takes the old one's place when it is on the disk. What a killed process counted since it last wrote is forgotten.
//! A file that is torn or not ours is said once, and the counts begin anew: a quota is no promise to anybody that data is
//! safe. Rates have no memory worth keeping: a restart gives each source its burst again.

pub(crate) mod file;
mod seed;

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;

pub(crate) use file::{Counts, Of};
pub(crate) use seed::Seed;

use crate::commits::clock_us;
use crate::limit::day_of;
use crate::live::Live;

/// The file, below the data folder.
const NAME: &str = "quotas";
const NAME_NEW: &str = "quotas.new";
/// Between two writes.
const WRITE_INTERVAL: Duration = Duration::from_secs(3);
/// More than the most counts take.
const BYTES_MAX: u64 = 64 << 20;

/// The keeper of the file. It writes a last time when dropped: after the last request, before the next process reads.
#[derive(Debug)]
pub(crate) struct Quotas {
    end: Option<Sender<()>>,
    writer: Option<JoinHandle<()>>,
}

impl Quotas {
    /// Lets sources go on where an earlier process left them, and keeps what they send. `data` is the data folder, which
    /// no other process has.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(crate) fn keep(data: &Path, live: watch::Receiver<Arc<Live>>) -> io::Result<Self> {
        let mut kept =
            Kept { path: data.join(NAME), new: data.join(NAME_NEW), live, written: Counts::default(), failing: false };
        kept.read();
        let (end, ended) = channel();
        let writer = thread::Builder::new().name("quotas".to_owned()).spawn(move || {
            while ended.recv_timeout(WRITE_INTERVAL) == Err(RecvTimeoutError::Timeout) {
                kept.write();
            }
            kept.write();
        })?;
        Ok(Self { end: Some(end), writer: Some(writer) })
    }
}

impl Drop for Quotas {
    fn drop(&mut self) {
        drop(self.end.take());
        if self.writer.take().is_some_and(|writer| writer.join().is_err()) {
            tracing::error!("the thread that keeps quotas panicked; they begin anew at the next start");
        }
    }
}

/// The file and what is in it.
struct Kept {
    path: PathBuf,
    new: PathBuf,
    live: watch::Receiver<Arc<Live>>,
    written: Counts,
    /// The last write failed, which was said.
    failing: bool,
}

impl Kept {
    fn read(&mut self) {
        let path = self.path.display();
        let bytes = fs::metadata(&self.path).and_then(|of| {
            if of.len() > BYTES_MAX { Err(io::ErrorKind::FileTooLarge.into()) } else { fs::read(&self.path) }
        });
        match bytes.map(|bytes| file::decode(&bytes)) {
            Ok(Some(counts)) => {
                let live = self.live.borrow();
                if !live.policies.restore(&counts, day_of(clock_us())) {
                    tracing::warn!(%path, "the counts of daily quotas are of another build or other settings; they begin anew");
                }
            }
            Ok(None) => tracing::warn!(%path, "the file of daily quotas is torn or foreign; they begin anew"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%path, %error, "the file of daily quotas is not readable; they begin anew"),
        }
    }

    fn write(&mut self) {
        let counts = self.live.borrow().policies.of_day(day_of(clock_us()));
        let Some(counts) = counts.filter(|counts| *counts != self.written) else { return };
        let outcome = self.replace(&file::encode(&counts));
        if let (Err(error), false) = (&outcome, self.failing) {
            tracing::error!(%error, path = %self.path.display(), "daily quotas cannot be written down; a restart forgets them");
        }
        self.failing = outcome.is_err();
        if !self.failing {
            self.written = counts;
        }
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create(&self.new)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        fs::rename(&self.new, &self.path)
    }
}
