//! The settings of sources, and of the tiers that limit them.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use wire::{SourceId, limits};

use crate::limit::{EVENTS_MAX, EVENTS_PER_SECOND_MAX, Limit};
use crate::origin::Origin;

/// The tier of sources that name none.
pub(crate) const TIER_DEFAULT: &str = "default";

/// One source of events.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// Its stable id, 1 to 256 bytes: part of every event's identity, so it stays when keys change.
    pub id: String,
    /// The keys it may post with; several, so that a key can be rotated. White space around a key is no part of it. Never
    /// printed.
    pub write_keys: Vec<String>,
    /// The id of its tier. Default empty: the tier `default`, where there is one.
    #[serde(default)]
    pub tier: String,
    /// The origins of the web pages that may post with its keys: `https://shop.example`, or `https://*.example.com` for
    /// every name below one. Default none: any. A request from anything but a web page has no origin and is not asked.
    #[serde(default)]
    pub origins: Vec<String>,
}

/// Limits for sources: each one of the tier has them for itself. A request of n events is charged n.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tier {
    /// What sources call it. The tier `default` is that of sources that name none, also where none are configured; then
    /// keys share a table of counters, and two may share a counter.
    pub id: String,
    /// Events a second. Default 0: no limit. At most 10,000,000.
    pub events_per_second: u64,
    /// Events at once, on top of which the rate goes on. Default 0: one second's worth. At most 1,000,000,000. A batch
    /// that is larger than what is left gets through and leaves a debt.
    pub burst_events: u64,
    /// Events of a day, which begins at midnight UTC. Default 0: no limit. At most 1,000,000,000. The count outlives a
    /// restart; what a killed process counted in its last three seconds is forgotten.
    pub events_per_day: u64,
    /// What happens beyond. Default `observe`.
    pub mode: Mode,
}

/// What happens to events beyond a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// They are counted and taken.
    #[default]
    Observe,
    /// They are refused with 429, and every answer says what is left.
    Enforce,
}

impl fmt::Debug for SourceConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, write_keys: _, tier, origins } = self;
        let mut out = out.debug_struct("SourceConfig");
        out.field("id", id).field("tier", tier).field("origins", origins).finish_non_exhaustive()
    }
}

impl SourceConfig {
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.write_keys.iter().map(|key| (key.as_bytes(), self.id.as_bytes()))
    }
}

impl Tier {
    pub(crate) fn limit(&self) -> Limit {
        let is_enforced = self.mode == Mode::Enforce;
        Limit::new(self.events_per_second, self.burst_events, self.events_per_day, is_enforced)
    }
}

pub(super) fn check_sources(
    sources: &[SourceConfig],
    tiers: &[Tier],
    demand: &mut impl FnMut(bool, &'static str, String),
) {
    let (mut ids, mut keys) = (HashSet::new(), HashSet::new());
    for SourceConfig { id, write_keys, tier, origins } in sources {
        let valid = SourceId::try_new(id.as_bytes()).is_some();
        demand(valid, "sources", format!("the id {id:?} must have 1 to {} bytes", limits::SOURCE_BYTES_MAX));
        demand(ids.insert(id), "sources", format!("the id {id:?} stands there twice"));
        demand(!write_keys.is_empty(), "sources", format!("{id:?} has no write_keys, so it could never post"));
        for key in write_keys {
            let key = key.trim_ascii();
            let valid = (1..=limits::SOURCE_BYTES_MAX).contains(&key.len());
            let bytes_max = limits::SOURCE_BYTES_MAX;
            demand(valid, "sources", format!("a write key of {id:?} must have 1 to {bytes_max} bytes"));
            demand(keys.insert(key), "sources", format!("a write key of {id:?} is given twice"));
        }
        let known = tier.is_empty() || tiers.iter().any(|known| known.id == *tier);
        demand(known, "sources", format!("{id:?} has the tier {tier:?}, which is none of the tiers"));
        for origin in origins {
            let valid = origin.parse::<Origin>().is_ok();
            demand(valid, "sources", format!("{origin:?} of {id:?} is no origin such as https://shop.example"));
        }
    }
}

pub(super) fn check_tiers(tiers: &[Tier], demand: &mut impl FnMut(bool, &'static str, String)) {
    let mut ids = HashSet::new();
    for Tier { id, events_per_second, burst_events, events_per_day, .. } in tiers {
        demand(!id.is_empty(), "tiers", "a tier has no id".into());
        demand(ids.insert(id), "tiers", format!("the id {id:?} stands there twice"));
        for (key, value, max) in [
            ("events_per_second", *events_per_second, EVENTS_PER_SECOND_MAX),
            ("burst_events", *burst_events, EVENTS_MAX),
            ("events_per_day", *events_per_day, EVENTS_MAX),
        ] {
            demand(value <= max, "tiers", format!("{key} of {id:?} must be at most {max}; 0 is no limit"));
        }
        let bursts = *burst_events == 0 || *events_per_second > 0;
        demand(bursts, "tiers", format!("burst_events of {id:?} means nothing without events_per_second"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn problem(sources: Vec<SourceConfig>, tiers: Vec<Tier>) -> Vec<&'static str> {
        Config { tiers, sources, ..Config::default() }.problems().iter().map(|problem| problem.key).collect()
    }

    fn source(id: &str, keys: &[&str]) -> SourceConfig {
        SourceConfig {
            id: id.into(),
            write_keys: keys.iter().map(|key| (*key).into()).collect(),
            ..SourceConfig::default()
        }
    }

    #[test]
    fn a_key_is_not_shown_by_any_way_of_printing() {
        let config = Config { sources: vec![source("web", &["hush", "hush"])], ..Config::default() };
        let printed = format!("{config:?} {:?}", config.problems());
        assert!(printed.contains("web") && printed.contains("twice") && !printed.contains("hush"), "{printed}");
    }

    #[test]
    fn sources_and_keys_are_checked() {
        assert_eq!(problem(vec![source("web", &["a", "b"]), source("app", &["c"])], vec![]), [""; 0]);
        let with_tier = SourceConfig { tier: "large".into(), ..source("web", &["a"]) };
        let with_origins = |origin: &str| SourceConfig { origins: vec![origin.into()], ..source("web", &["a"]) };
        let large = Tier { id: "large".into(), ..Tier::default() };
        assert_eq!(problem(vec![with_tier.clone()], vec![large]), [""; 0]);
        assert_eq!(problem(vec![with_origins("https://*.shop.example")], vec![]), [""; 0]);
        for wrong in [
            vec![source("", &["a"])],
            vec![source("web", &[])],
            vec![source("web", &[""])],
            vec![source("web", &[" "])],
            vec![source("web", &["a"]), source("web", &["b"])],
            vec![source("web", &["a"]), source("app", &["a"])],
            vec![source("web", &["a", " a"])],
            vec![with_tier],
            vec![with_origins("shop.example")],
        ] {
            assert_eq!(problem(wrong.clone(), vec![]), ["sources"], "{wrong:?}");
        }
    }

    #[test]
    fn tiers_are_checked() {
        let tier = |change: fn(&mut Tier)| {
            let mut tier = Tier { id: "free".into(), ..Tier::default() };
            change(&mut tier);
            tier
        };
        let most = tier(|tier| {
            (tier.events_per_second, tier.burst_events) = (EVENTS_PER_SECOND_MAX, EVENTS_MAX);
            tier.events_per_day = EVENTS_MAX;
        });
        assert_eq!(problem(vec![], vec![most.clone(), Tier { id: "default".into(), ..most }]), [""; 0]);
        for wrong in [
            vec![tier(|tier| tier.id.clear())],
            vec![tier(|_| ()), tier(|_| ())],
            vec![tier(|tier| tier.events_per_second = EVENTS_PER_SECOND_MAX + 1)],
            vec![tier(|tier| tier.events_per_day = EVENTS_MAX + 1)],
            vec![tier(|tier| tier.burst_events = 1)],
        ] {
            assert_eq!(problem(vec![], wrong.clone()), ["tiers"], "{wrong:?}");
        }
    }
}
