//! How far a long command has come, for a person; nothing where nobody watches.

use indicatif::{ProgressBar, ProgressStyle};

use crate::worker::restore::Progress;

/// One bar over all partitions.
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// A bar without a length yet.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::no_length();
        let style = "{bar:40} {percent}% {pos} of {len} records, {per_sec}, {eta} left, {msg}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar }
    }

    /// There is so much more to be read.
    pub(super) fn expect(&self, records: u64) {
        self.bar.set_length(self.bar.length().unwrap_or(0) + records);
    }

    /// `progress` has come on since `before`.
    pub(super) fn advance(&self, before: &mut Progress, progress: Progress) {
        let from = before.offset.max(progress.from);
        self.bar.inc(progress.offset.saturating_sub(from));
        *before = progress;
    }

    /// What is being read.
    pub(super) fn say(&self, text: String) {
        self.bar.set_message(text);
    }

    /// Removes it.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
