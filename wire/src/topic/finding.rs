//! What is not as it must be.

use std::fmt;

use super::{RULES, Retention};

/// A setting that is not what it must be. `Display` is one sentence: `events has message.timestamp.type=CreateTime, must be
/// LogAppendTime: ` and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The topic.
    pub topic: &'static str,
    /// The setting.
    pub setting: &'static str,
    /// What it is.
    pub is: String,
    /// What it must be, in words.
    pub must: String,
    /// Whether the topic must not be used; else it is used, with a warning.
    pub refuse: bool,
    /// What it leads to.
    pub why: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, setting, is, must, why, .. } = self;
        write!(out, "{topic} has {setting}={is}, must be {must}: {why}")
    }
}

/// Judges a topic by its settings, names and values as the broker gives them and [`REPLICAS`](super::REPLICAS); nothing is
/// said of what is not among them.
pub fn judge(topic: &str, found: &[(&str, &str)], retention: Retention) -> Vec<Finding> {
    let mut findings = Vec::new();
    for rule in RULES {
        let Some(topic) = rule.topics.iter().find(|name| **name == topic) else { continue };
        let Some((_, is)) = found.iter().find(|(setting, _)| *setting == rule.setting) else { continue };
        if !rule.must.allows(is, retention) {
            let (is, must) = ((*is).to_owned(), rule.must.words(retention));
            findings.push(Finding { topic, setting: rule.setting, is, must, refuse: rule.refuse, why: rule.why });
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED, TOPICS};
    use super::*;
    use crate::Window;
    use crate::window::DAY_MS;

    /// The settings that are refused, and those that are warned of.
    fn outcome(topic: &str, found: &[(&str, &str)]) -> (Vec<&'static str>, Vec<&'static str>) {
        let findings = judge(topic, found, Retention::default());
        let (refused, warned): (Vec<_>, Vec<_>) = findings.iter().partition(|finding| finding.refuse);
        let settings = |findings: Vec<&Finding>| findings.into_iter().map(|finding| finding.setting).collect();
        (settings(refused), settings(warned))
    }

    #[test]
    fn a_finding_is_a_sentence() {
        let found = [("message.timestamp.type", "CreateTime")];
        let findings = judge(EVENTS, &found, Retention::default());
        assert_eq!(findings.len(), 1);
        let said = findings[0].to_string();
        assert!(said.starts_with("events has message.timestamp.type=CreateTime, must be LogAppendTime: by "), "{said}");
        let found = [("retention.ms", "5")];
        let said = judge(EVENTS, &found, Retention::new(Window::default(), Duration::from_secs(1)))[0].to_string();
        assert!(said.starts_with("events has retention.ms=5, must be 1000 or more, or -1: what waits"), "{said}");
    }

    #[test]
    fn what_is_not_told_and_what_is_not_ours_is_not_judged() {
        for topic in TOPICS {
            assert_eq!(judge(topic, &[("segment.bytes", "1")], Retention::default()), []);
        }
        assert_eq!(judge("payments", &[("cleanup.policy", "compact")], Retention::default()), []);
    }

    #[test]
    fn what_loses_or_doubles_events_is_refused() {
        let wrong = [
            ("cleanup.policy", "compact,delete"),
            ("message.timestamp.type", "CreateTime"),
            ("retention.ms", "86400000"),
            ("retention.bytes", "1073741824"),
        ];
        let settings: Vec<_> = wrong.iter().map(|(setting, _)| *setting).collect();
        for topic in [EVENTS, EVENTS_INDEX] {
            assert_eq!(outcome(topic, &wrong), (settings.clone(), vec![]), "{topic}");
        }
        assert_eq!(outcome(EVENTS_DEDUPED, &wrong), (settings[..1].to_vec(), settings[1..].to_vec()));
        assert_eq!(outcome(EVENTS_REJECTED, &wrong), (vec![], settings));
    }

    #[test]
    fn what_loses_events_after_a_failure_is_warned_of() {
        let weak = [("replicas", "2"), ("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
        let settings: Vec<_> = weak.iter().map(|(setting, _)| *setting).collect();
        for topic in TOPICS {
            assert_eq!(outcome(topic, &weak), (vec![], settings.clone()), "{topic}");
        }
        let small = [("max.message.bytes", "1048588")];
        assert_eq!(outcome(EVENTS_REJECTED, &small), (vec![], vec!["max.message.bytes"]));
        assert_eq!(outcome(EVENTS, &small), (vec![], vec![]));
    }

    #[test]
    fn each_topic_is_kept_as_long_as_it_is_needed() {
        let kept = |topic, retention_ms: u64| {
            let (refused, warned) = outcome(topic, &[("retention.ms", &retention_ms.to_string())]);
            refused.is_empty() && warned.is_empty()
        };
        for (topic, days) in [(EVENTS, 7), (EVENTS_DEDUPED, 39), (EVENTS_INDEX, 39), (EVENTS_REJECTED, 39)] {
            assert!(kept(topic, days * DAY_MS) && !kept(topic, days * DAY_MS - 1), "{topic}");
            assert_eq!(outcome(topic, &[("retention.ms", "-1")]), (vec![], vec![]), "{topic} for ever");
        }
    }
}
