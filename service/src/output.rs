//! What a program says: on standard output, which may be closed by whoever reads it, as `head` does, or lie on a full disk,
//! and on standard error.

use std::fmt::Display;
use std::io::{self, BufWriter, StdoutLock, Write as _};

use serde::Serialize;

use crate::Failure;

/// Lines for standard output, written together.
pub struct Output {
    out: BufWriter<StdoutLock<'static>>,
    closed: bool,
}

impl Output {
    /// Standard output, which nobody else writes to as long as this lives.
    pub fn new() -> Self {
        Self { out: BufWriter::with_capacity(1 << 16, io::stdout().lock()), closed: false }
    }

    /// Nobody reads any more: there is no use in going on.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// One line.
    ///
    /// # Errors
    /// [`Failure::Failed`] where it cannot be written, but not where nobody reads.
    pub fn line(&mut self, line: impl Display) -> Result<(), Failure> {
        let written = writeln!(self.out, "{line}");
        self.note(written)
    }

    /// A value as one line of JSON.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let written = serde_json::to_writer(&mut self.out, value).map_err(io::Error::from);
        let written = written.and_then(|()| self.out.write_all(b"\n"));
        self.note(written)
    }

    /// Writes what is still kept back.
    ///
    /// # Errors
    /// As [`line`](Self::line).
    pub fn finish(mut self) -> Result<(), Failure> {
        let written = self.out.flush();
        self.note(written)
    }

    fn note(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        match written {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::failed(format!("cannot write to standard output: {error}"))),
        }
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

/// Says one thing on standard output, at once.
///
/// # Errors
/// [`Failure::Failed`] where it cannot be written, but not where nobody reads.
pub fn say(line: impl Display) -> Result<(), Failure> {
    let mut output = Output::new();
    output.line(line)?;
    output.finish()
}

/// Says on standard output that a server is ready. One that cannot say so serves all the same.
pub fn announce(line: impl Display) {
    if let Err(failure) = say(line) {
        tracing::warn!("{failure}");
    }
}

/// A remark beside the answer, on standard error. Where that is closed there is nowhere left to say it.
pub fn remark(line: impl Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}
