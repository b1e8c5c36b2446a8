//! What a topic is set to, and what the promises need of it.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use tracing::debug;
use wire::Window;
use wire::topic::{EVENTS, EVENTS_INDEX};
use wire::window::DAY_MS;

use crate::{Cluster, Failure};

/// Days that the changelog outlives the window: seven that an event may wait in the input, and two to spare.
const CHANGELOG_SPARE_DAYS: u64 = 9;

/// The settings of one topic, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TopicSettings(BTreeMap<String, String>);

impl TopicSettings {
    /// Asks for the settings of some topics, in one request. Those that may not be read are left out.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub fn ask(
        cluster: &Cluster,
        topics: &[&'static str],
        timeout: Duration,
    ) -> Result<BTreeMap<&'static str, Self>, Failure> {
        const OPERATION: &str = "ask for the settings of topics";
        let fail = |detail: String| Failure::new(OPERATION, detail);
        let admin: AdminClient<DefaultClientContext> =
            cluster.config().create().map_err(Failure::of("make a client"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| fail(error.to_string()))?;
        let options = AdminOptions::new().request_timeout(Some(timeout));
        let resources: Vec<_> = topics.iter().map(|topic| ResourceSpecifier::Topic(topic)).collect();
        let answers = runtime.block_on(admin.describe_configs(&resources, &options));
        let mut found = BTreeMap::new();
        for answer in answers.map_err(Failure::of(OPERATION))? {
            let Ok(answer) = answer.inspect_err(|code| debug!(cluster = cluster.name(), %code, "unknown settings"))
            else {
                continue;
            };
            let OwnedResourceSpecifier::Topic(name) = &answer.specifier else { continue };
            let Some(topic) = topics.iter().find(|topic| *topic == name) else { continue };
            let pair = |entry: rdkafka::admin::ConfigEntry| Some((entry.name, entry.value?));
            found.insert(*topic, Self(answer.entries.into_iter().filter_map(pair).collect()));
        }
        Ok(found)
    }

    /// Names and values, as far as the broker tells them.
    pub fn pairs(&self) -> Vec<(&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    /// How long the topic keeps a record; `None` where that is unknown, or for ever.
    pub fn kept_for(&self) -> Option<Duration> {
        wire::topic::kept_for(&self.pairs())
    }

    /// The value of a setting, where the broker tells it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// What would break a promise: records that are deleted while they are needed.
    pub fn faults(&self, topic: &str, window: Window) -> Vec<String> {
        let mut faults = Vec::new();
        if let Some(policy) = self.0.get("cleanup.policy").filter(|policy| *policy != "delete") {
            faults.push(format!("{topic} has cleanup.policy={policy}; it must be delete"));
        }
        if topic == EVENTS_INDEX {
            let kept = u64::from(window.promised_buckets() + window.margin_buckets()) * window.bucket_ms();
            let needed_ms = kept + CHANGELOG_SPARE_DAYS * DAY_MS;
            if let Some(found) = self.number("retention.ms").filter(|ms| (0..needed_ms as i64).contains(ms)) {
                faults.push(format!("{topic} has retention.ms={found}; the window needs {needed_ms}, or -1"));
            }
            if let Some(found) = self.number("retention.bytes").filter(|bytes| *bytes >= 0) {
                faults.push(format!("{topic} has retention.bytes={found}; it must be -1"));
            }
        }
        faults
    }

    /// What makes a promise weaker than it could be.
    pub fn warnings(&self, topic: &str) -> Vec<String> {
        let mut warnings = Vec::new();
        let stamps = self.0.get("message.timestamp.type");
        if topic == EVENTS && stamps.is_some_and(|kind| kind != "LogAppendTime") {
            warnings.push(format!(
                "{topic} does not use LogAppendTime: retention may delete what a host sends after a long outage at once"
            ));
        }
        if self.number("min.insync.replicas").is_some_and(|replicas| replicas < 2) {
            warnings.push(format!("{topic} has min.insync.replicas below 2: one lost disk may lose records"));
        }
        if self.0.get("unclean.leader.election.enable").is_some_and(|is| is == "true") {
            warnings.push(format!("{topic} allows unclean leader election: acknowledged records may be lost"));
        }
        warnings
    }

    /// How long a record is kept, milliseconds; `None` where that is unknown, or for ever.
    pub fn retention_ms(&self) -> Option<u64> {
        self.number("retention.ms").and_then(|ms| u64::try_from(ms).ok())
    }

    /// The value of a setting that is a number.
    pub fn number(&self, name: &str) -> Option<i64> {
        self.0.get(name)?.parse().ok()
    }
}

impl FromIterator<(String, String)> for TopicSettings {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(pairs: &[(&str, &str)]) -> TopicSettings {
        TopicSettings(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_changelog_must_outlive_the_window() {
        let window = Window::default();
        let needed = 39 * DAY_MS;
        for (retention, faults) in
            [("-1".to_owned(), 0), (needed.to_string(), 0), ((needed - 1).to_string(), 1), ("604800000".to_owned(), 1)]
        {
            let settings = settings(&[("retention.ms", &retention), ("cleanup.policy", "delete")]);
            assert_eq!(settings.faults(EVENTS_INDEX, window).len(), faults, "{retention}");
            assert_eq!(settings.faults(EVENTS, window).len(), 0, "{retention}");
        }
        let wrong = settings(&[("cleanup.policy", "compact"), ("retention.bytes", "1000")]);
        assert_eq!(wrong.faults(EVENTS_INDEX, window).len(), 2);
    }

    #[test]
    fn what_is_weak_is_named() {
        let weak = [
            ("message.timestamp.type", "CreateTime"),
            ("min.insync.replicas", "1"),
            ("unclean.leader.election.enable", "true"),
        ];
        assert_eq!(settings(&weak).warnings(EVENTS).len(), 3);
        assert_eq!(settings(&weak).warnings(EVENTS_INDEX).len(), 2);
        assert_eq!(settings(&[]).warnings(EVENTS), Vec::<String>::new());
    }
}
