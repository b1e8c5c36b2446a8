//! One rule: what a setting must be, and what another value costs.

use super::{Retention, Span};

/// What one setting of some topics must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The topics that it is for.
    pub topics: &'static [&'static str],
    /// The broker's name of the setting, or [`REPLICAS`](super::REPLICAS).
    pub setting: &'static str,
    /// What it must be.
    pub must: Must,
    /// Whether a topic with another value is refused; else it is used, with a warning.
    pub refuse: bool,
    /// Whether a new topic is given it, as the least that it must be; else it gets what the broker gives.
    pub is_given: bool,
    /// What another value leads to, one sentence without a capital and without a full stop.
    pub why: &'static str,
}

/// What a setting must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Must {
    /// This value alone.
    Be(&'static str),
    /// This number or a larger one.
    BeAtLeast(u64),
    /// So many milliseconds or more, or -1, which is for ever.
    KeepFor(Span),
}

/// A rule whose breach is refused. New topics are given what it asks for.
pub(super) const fn refused(
    topics: &'static [&'static str],
    setting: &'static str,
    must: Must,
    why: &'static str,
) -> Rule {
    Rule { topics, setting, must, refuse: true, is_given: true, why }
}

/// A rule whose breach is warned of. New topics are given what it asks for.
pub(super) const fn warned(
    topics: &'static [&'static str],
    setting: &'static str,
    must: Must,
    why: &'static str,
) -> Rule {
    Rule { refuse: false, ..refused(topics, setting, must, why) }
}

impl Rule {
    /// The same about what depends on how many brokers there are: new topics get what the broker gives.
    pub(super) const fn left_to_the_broker(self) -> Self {
        Self { is_given: false, ..self }
    }

    /// What a new topic is given; `None` where the broker decides.
    pub fn given(&self, retention: Retention) -> Option<String> {
        self.is_given.then(|| match self.must {
            Must::Be(value) => value.to_owned(),
            Must::BeAtLeast(least) => least.to_string(),
            Must::KeepFor(span) => retention.least_ms(span).to_string(),
        })
    }
}

impl Must {
    /// Whether a value is what it must be. A text that is no number is none of the numbers.
    pub fn allows(self, value: &str, retention: Retention) -> bool {
        let is_at_least = |least| value.parse().is_ok_and(|number: u64| number >= least);
        match self {
            Self::Be(only) => value == only,
            Self::BeAtLeast(least) => is_at_least(least),
            Self::KeepFor(span) => value == "-1" || is_at_least(retention.least_ms(span)),
        }
    }

    /// It in words: `delete`, `2 or more`, `604800000 or more, or -1`.
    pub fn words(self, retention: Retention) -> String {
        match self {
            Self::Be(only) => only.to_owned(),
            Self::BeAtLeast(least) => format!("{least} or more"),
            Self::KeepFor(span) => format!("{} or more, or -1", retention.least_ms(span)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::Window;

    fn second() -> Retention {
        Retention::new(Window::default(), Duration::from_secs(1))
    }

    #[test]
    fn a_value_is_what_it_must_be_or_not() {
        for (must, allowed, others) in [
            (Must::Be("delete"), ["delete"].as_slice(), ["compact", "compact,delete", ""].as_slice()),
            (Must::BeAtLeast(2), &["2", "3"], &["1", "-1", "0", "many"]),
            (Must::KeepFor(Span::Input), &["1000", "1001", "-1"], &["999", "0", "-2", "", "for ever"]),
        ] {
            for (values, expected) in [(allowed, true), (others, false)] {
                let wrong: Vec<_> = values.iter().filter(|value| must.allows(value, second()) != expected).collect();
                assert!(wrong.is_empty(), "{must:?}: {wrong:?}");
            }
        }
    }

    #[test]
    fn a_new_topic_is_given_the_least_that_is_allowed() {
        for must in [Must::Be("delete"), Must::BeAtLeast(2), Must::KeepFor(Span::Input), Must::KeepFor(Span::Window)] {
            let rule = warned(&["events"], "setting", must, "why");
            let given = rule.given(second()).unwrap();
            assert!(must.allows(&given, second()) && must.words(second()).starts_with(&given), "{must:?}");
            assert_eq!(rule.left_to_the_broker().given(second()), None);
        }
    }
}
