//! What a topic is set to.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, OwnedResourceSpecifier, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use tracing::debug;

use crate::{Cluster, Failure};

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

    /// Bytes that one batch of records may have, and so one record; `None` where that is unknown.
    pub fn record_bytes_max(&self) -> Option<usize> {
        self.0.get("max.message.bytes")?.parse().ok()
    }

    /// How long the topic keeps a record; `None` where that is unknown, or for ever.
    pub fn kept_for(&self) -> Option<Duration> {
        wire::topic::kept_for(&self.pairs())
    }
}

impl FromIterator<(String, String)> for TopicSettings {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(pairs: I) -> Self {
        Self(pairs.into_iter().collect())
    }
}
