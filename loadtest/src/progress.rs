//! One live line on a terminal; elsewhere a plain line now and then.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Between plain lines.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

pub(crate) enum Progress {
    Live(ProgressBar),
    Plain { next: Instant },
}

impl Progress {
    pub(crate) fn start() -> Self {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new_spinner();
            bar.set_style(ProgressStyle::with_template("{spinner} {elapsed:>4} {msg}").expect("a good template"));
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
                eprintln!("{}", line());
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
