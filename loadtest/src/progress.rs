//! One live line on a terminal; elsewhere a plain line now and then.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use service::remark;

/// Between plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// Counts of a [`SharedProgress`] between two looks at the clock.
const SHOW_EVERY: u64 = 4096;

pub(crate) enum Progress {
    Live(ProgressBar),
    Plain { next: Instant },
}

impl Progress {
    pub(crate) fn start() -> Self {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}").expect("a good template"));
            Self::Live(bar)
        } else {
            Self::Plain { next: Instant::now() + PLAIN_EVERY }
        }
    }

    pub(crate) fn show(&mut self, line: impl FnOnce() -> String) {
        match self {
            Self::Live(bar) => {
                bar.set_message(line());
                bar.tick();
            }
            Self::Plain { next } if Instant::now() >= *next => {
                *next = Instant::now() + PLAIN_EVERY;
                remark(line());
            }
            Self::Plain { .. } => {}
        }
    }

    pub(crate) fn finish(self) {
        if let Self::Live(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// Counts for several threads at once.
pub(crate) struct SharedProgress {
    count: AtomicU64,
    progress: Mutex<Progress>,
}

impl SharedProgress {
    pub(crate) fn start() -> Self {
        Self { count: AtomicU64::new(0), progress: Mutex::new(Progress::start()) }
    }

    /// Counts one more, and shows the count now and then.
    pub(crate) fn count(&self, line: impl FnOnce(u64) -> String) {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        // Who finds another thread at it has nothing newer to show.
        if count.is_multiple_of(SHOW_EVERY)
            && let Ok(mut progress) = self.progress.try_lock()
        {
            progress.show(|| line(count));
        }
    }

    pub(crate) fn finish(self) {
        if let Ok(progress) = self.progress.into_inner() {
            progress.finish();
        }
    }
}
