//! How far a long command has come: a bar for who watches, a line in the log now and then where nobody does.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use changelog::Progress;
use indicatif::{ProgressBar, ProgressStyle};
use tracing::info;

/// Between two lines in the log.
const LINE_PERIOD: Duration = Duration::from_secs(10);

/// One bar over all lanes.
pub(super) struct Bar {
    bar: ProgressBar,
    said: Mutex<Instant>,
}

impl Bar {
    /// A bar without a length yet.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::no_length();
        let style = "{bar:40} {percent}% {pos} of {len} records, {per_sec}, {eta} left, {msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, said: Mutex::new(Instant::now()) }
    }

    /// There is so much more to be read.
    pub(super) fn expect(&self, records: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0) + records);
    }

    /// So much of what was expected need not be read.
    pub(super) fn expect_less(&self, records: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0).saturating_sub(records));
    }

    /// `progress` has come on since `before`.
    pub(super) fn advance(&self, before: &mut Progress, progress: Progress) {
        let from = before.offset.max(progress.from);
        self.inc(progress.offset.saturating_sub(from));
        *before = progress;
    }

    /// So many more were read.
    pub(super) fn inc(&self, records: u64) {
        self.bar.inc(records);
        if self.bar.is_hidden() {
            self.log();
        }
    }

    /// What is being read.
    pub(super) fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Removes it.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn log(&self) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.elapsed() >= LINE_PERIOD {
            *said = Instant::now();
            let (records, of) = (self.bar.position(), self.bar.length().unwrap_or(0));
            let (records_per_s, left_s) = (self.bar.per_sec() as u64, self.bar.eta().as_secs());
            info!(records, of, records_per_s, left_s, note = self.bar.message(), "on the way");
        }
    }
}
