//! What is to be said of the settings of a cluster's topics.

use wire::topic::Finding;

/// What is to be said of the settings of a cluster's topics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Judgement {
    /// Why they must not be used.
    pub refused: Vec<Finding>,
    /// What makes a promise weaker than it could be.
    pub warned: Vec<Finding>,
    /// Topics whose settings the cluster does not tell: nothing is known against them.
    pub untold: Vec<&'static str>,
}

impl Judgement {
    /// Why they must not be used, a sentence for each reason; `None` where there is no reason.
    pub fn refusal(&self) -> Option<String> {
        let reasons: Vec<_> = self.refused.iter().map(Finding::to_string).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// What else is to be said, one sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let untold = self.untold.iter();
        let untold = untold.map(|topic| format!("the settings of {topic} cannot be read, so they are not checked"));
        self.warned.iter().map(Finding::to_string).chain(untold).collect()
    }
}

#[cfg(test)]
mod tests {
    use wire::topic::{EVENTS, EVENTS_INDEX, Retention};

    use super::*;
    use crate::{Facts, TopicFacts, TopicSettings};

    fn topic(replicas_min: u32) -> TopicFacts {
        TopicFacts {
            cluster_id: "c".into(),
            topic_id: [1; 16],
            partition_count: 8,
            replicas_min,
            ..TopicFacts::default()
        }
    }

    fn settings(pairs: &[(&str, &str)]) -> TopicSettings {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_topic_is_judged_by_its_settings_and_its_replicas() {
        let wrong = settings(&[("message.timestamp.type", "CreateTime"), ("retention.ms", "3600000")]);
        let weak = settings(&[("min.insync.replicas", "1")]);
        let facts = Facts {
            topics: [(EVENTS, topic(3)), (EVENTS_INDEX, topic(1))].into(),
            settings: [(EVENTS, wrong), (EVENTS_INDEX, weak)].into(),
        };
        let judgement = facts.judge(Retention::default());
        let refusal = judgement.refusal().unwrap();
        assert!(
            refusal.starts_with("events has message.timestamp.type=CreateTime, must be LogAppendTime: "),
            "{refusal}"
        );
        assert!(refusal.contains("; events has retention.ms=3600000, must be 604800000 or more, or -1: "), "{refusal}");
        let warnings = judgement.warnings();
        assert!(warnings[0].starts_with("events.index has replicas=1, must be 3 or more: "), "{warnings:?}");
        assert!(warnings[1].starts_with("events.index has min.insync.replicas=1, must be 2 or more: "), "{warnings:?}");
        assert_eq!(warnings.len(), 2);
    }

    #[test]
    fn what_is_not_told_is_said_and_not_refused() {
        let facts = Facts { topics: [(EVENTS, topic(3))].into(), ..Facts::default() };
        let judgement = facts.judge(Retention::default());
        assert_eq!(judgement.refusal(), None);
        assert_eq!(judgement.warnings(), ["the settings of events cannot be read, so they are not checked"]);
        assert_eq!(Facts::default().judge(Retention::default()), Judgement::default());
    }
}
