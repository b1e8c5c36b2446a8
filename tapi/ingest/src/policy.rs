//! What holds for a source: its limits, and the origins that it takes events from.

use std::collections::HashMap;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HeaderValue, ORIGIN};

use crate::config::{Config, TIER_DEFAULT, Tier};
use crate::limit::{Allowance, Limit, Usage};
use crate::origin::Origin;
use crate::quotas::{Counts, Of, Seed};
use crate::reject::Reject;
use crate::respond::Answer;

/// Counters that the sources of open mode share by their hash; two of a hundred sources meet in one case of fourteen.
const OPEN_SLOTS: usize = 65_536;

/// What holds for each source, where anything does. What they have used up stays theirs when settings are read again.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    by_source: HashMap<Vec<u8>, Configured>,
    open: Option<Open>,
}

#[derive(Debug)]
struct Configured {
    limit: Option<Limit>,
    usage: Arc<Usage>,
    origins: Vec<Origin>,
}

#[derive(Debug)]
struct Open {
    limit: Limit,
    counters: Arc<Counters>,
}

#[derive(Debug)]
struct Counters {
    seed: Seed,
    slots: Box<[Usage]>,
}

/// What holds for one source.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy<'a> {
    pub(crate) limit: Option<(&'a Limit, &'a Usage)>,
    origins: &'a [Origin],
}

impl Policies {
    /// From settings that were checked; `before` is what held until now.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> Self {
        let tier = |name: &str| config.tiers.iter().find(|tier| tier.id == name).map(Tier::limit);
        if config.is_open() {
            let counters = || {
                let slots = (0..OPEN_SLOTS).map(|_| Usage::default()).collect();
                Arc::new(Counters { seed: Seed::random(), slots })
            };
            let open = tier(TIER_DEFAULT).map(|limit| {
                let before = before.and_then(|before| before.open.as_ref());
                Open { limit, counters: before.map_or_else(counters, |open| Arc::clone(&open.counters)) }
            });
            return Self { by_source: HashMap::new(), open };
        }
        let by_source = config.sources.iter().filter_map(|source| {
            let id = source.id.as_bytes().to_vec();
            let limit = tier(if source.tier.is_empty() { TIER_DEFAULT } else { &source.tier });
            let origins: Vec<_> = source.origins.iter().filter_map(|origin| origin.parse().ok()).collect();
            let before = before.and_then(|before| before.by_source.get(&id));
            let usage = before.map_or_else(Arc::default, |before| Arc::clone(&before.usage));
            (limit.is_some() || !origins.is_empty()).then_some((id, Configured { limit, usage, origins }))
        });
        Self { by_source: by_source.collect(), open: None }
    }

    /// Whether nothing holds for any source.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_none() && self.by_source.is_empty()
    }

    /// `None` where nothing does.
    pub(crate) fn of(&self, source: &[u8]) -> Option<Policy<'_>> {
        if let Some(Open { limit, counters }) = &self.open {
            let slot = counters.seed.hash(source) as usize % OPEN_SLOTS;
            return Some(Policy { limit: Some((limit, &counters.slots[slot])), origins: &[] });
        }
        let Configured { limit, usage, origins } = self.by_source.get(source)?;
        let limit = limit.as_ref().map(|limit| (limit, &**usage));
        Some(Policy { limit, origins })
    }

    /// What sources with a daily quota have sent of it; `None` where none has one.
    pub(crate) fn of_day(&self, day: u64) -> Option<Counts> {
        let of = if let Some(Open { limit, counters }) = &self.open {
            let Counters { seed, slots } = &**counters;
            limit.has_quota().then(|| {
                let counts = slots.iter().zip(0..).map(|(usage, slot)| (slot, usage.of_day(day)));
                let counts = counts.filter(|(_, events)| *events > 0).collect();
                let seed = seed.get();
                Of::Slots { seed, check: Seed::check(seed), counts }
            })?
        } else {
            let limited =
                self.by_source.iter().filter(|(_, source)| source.limit.is_some_and(|limit| limit.has_quota()));
            let mut counts: Vec<_> = limited.map(|(id, source)| (id.clone(), source.usage.of_day(day))).collect();
            if counts.is_empty() {
                return None;
            }
            counts.retain(|(_, events)| *events > 0);
            counts.sort_unstable();
            Of::Sources(counts)
        };
        Some(Counts { day, of })
    }

    /// Lets sources go on from these counts, where they are of that day; whether they are of sources like these.
    pub(crate) fn restore(&self, counts: &Counts, day: u64) -> bool {
        match (&counts.of, &self.open) {
            (Of::Sources(sources), None) => {
                let known = sources.iter().filter_map(|(id, events)| Some((self.by_source.get(id)?, *events)));
                known.for_each(|(source, events)| source.usage.restore(counts.day, events));
                true
            }
            (Of::Slots { seed, check, counts: of_slots }, Some(Open { counters, .. })) => {
                let Counters { seed: own, slots } = &**counters;
                // What this process has counted itself lies where its own seed put it.
                let is_ours = own.get() == *seed || slots.iter().all(|usage| usage.of_day(day) == 0);
                if *check != Seed::check(*seed) || !is_ours {
                    return false;
                }
                own.set(*seed);
                let known = of_slots.iter().filter_map(|(slot, events)| Some((slots.get(*slot as usize)?, *events)));
                known.for_each(|(usage, events)| usage.restore(counts.day, events));
                true
            }
            // Settings without a quota have nothing to count.
            _ => self.is_empty(),
        }
    }

    /// The events of each limited source within its limits and beyond them, since the start; in open mode those of all.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (&str, (u64, u64))> {
        let open = self.open.as_ref().map(|Open { counters, .. }| {
            let all = counters.slots.iter().map(Usage::counts);
            ("(any)", all.fold((0, 0), |sum, (charged, over)| (sum.0 + charged, sum.1 + over)))
        });
        let limited = self.by_source.iter().filter(|(_, source)| source.limit.is_some());
        let configured = limited.map(|(id, source)| (std::str::from_utf8(id).unwrap_or(""), source.usage.counts()));
        open.into_iter().chain(configured)
    }
}

impl Policy<'_> {
    /// Whether the page of a request may post.
    ///
    /// # Errors
    /// The answer to a page of another origin.
    pub(crate) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let allowed = self.allows(headers.get(ORIGIN).map(HeaderValue::as_bytes));
        if allowed { Ok(()) } else { Err(Answer::refused(Reject::OriginNotAllowed)) }
    }

    /// Whether the source may send anything now, asked before it is charged.
    ///
    /// # Errors
    /// The answer to a source in debt, where the limit is enforced.
    pub(crate) fn check_debt(&self, now_us: i64) -> Result<(), Answer> {
        let Some((limit, usage)) = self.limit.filter(|(limit, _)| limit.is_enforced) else { return Ok(()) };
        limit.allowance(usage, now_us).map(drop).map_err(|spent| {
            usage.refused();
            Answer::Limited(spent)
        })
    }

    /// Charges events, and says what is left where the limit is enforced.
    ///
    /// # Errors
    /// The answer to a source in debt, where the limit is enforced.
    pub(crate) fn charge(&self, events: usize, now_us: i64) -> Result<Option<Allowance>, Answer> {
        let Some((limit, usage)) = self.limit else { return Ok(None) };
        match limit.charge(usage, events, now_us) {
            Ok(left) => Ok(Some(left).filter(|_| limit.is_enforced)),
            Err(spent) if limit.is_enforced => Err(Answer::Limited(spent)),
            Err(_) => Ok(None),
        }
    }

    /// Whether a page of this origin may post; what no browser sent has none.
    fn allows(&self, origin: Option<&[u8]>) -> bool {
        let listed = |origin| self.origins.is_empty() || self.origins.iter().any(|allowed| allowed.matches(origin));
        origin.is_none_or(listed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Mode, SourceConfig};

    fn config(per_day: u64) -> Config {
        let tier =
            |id: &str, events_per_day| Tier { id: id.into(), events_per_day, mode: Mode::Enforce, ..Tier::default() };
        let source = |id: &str, tier: &str, origins: &[&str]| SourceConfig {
            id: id.into(),
            write_keys: vec![id.into()],
            tier: tier.into(),
            origins: origins.iter().map(|origin| (*origin).into()).collect(),
        };
        Config {
            tiers: vec![tier("default", per_day), tier("large", 1000)],
            sources: vec![source("web", "", &["https://shop.example"]), source("app", "large", &[])],
            ..Config::default()
        }
    }

    fn remaining(policies: &Policies, source: &str) -> u64 {
        let (limit, usage) = policies.of(source.as_bytes()).unwrap().limit.unwrap();
        limit.allowance(usage, 0).map_or(0, |allowance| allowance.remaining)
    }

    fn charge(policies: &Policies, source: &str, events: usize) -> bool {
        let (limit, usage) = policies.of(source.as_bytes()).unwrap().limit.unwrap();
        limit.charge(usage, events, 0).is_ok()
    }

    #[test]
    fn each_source_has_its_tier_and_its_own_count() {
        let policies = Policies::new(&config(10), None);
        assert!(charge(&policies, "web", 10) && !charge(&policies, "web", 1));
        assert_eq!((remaining(&policies, "web"), remaining(&policies, "app")), (0, 1000));
        assert!(policies.of(b"other").is_none());
        let mut counts: Vec<_> = policies.counts().collect();
        counts.sort_unstable();
        assert_eq!(counts, [("app", (0, 0)), ("web", (10, 1))]);
    }

    #[test]
    fn what_was_used_up_stays_so_when_settings_are_read_again() {
        let before = Policies::new(&config(10), None);
        assert!(charge(&before, "web", 8));
        assert_eq!(remaining(&Policies::new(&config(10), Some(&before)), "web"), 2);
        assert_eq!(remaining(&Policies::new(&config(20), Some(&before)), "web"), 12);
        let mut open = config(10);
        open.sources.clear();
        let before = Policies::new(&open, None);
        assert!(charge(&before, "any", 8));
        assert_eq!(remaining(&Policies::new(&open, Some(&before)), "any"), 2);
    }

    #[test]
    fn only_listed_origins_may_post() {
        let policies = Policies::new(&config(10), None);
        let (web, app) = (policies.of(b"web").unwrap(), policies.of(b"app").unwrap());
        assert!(web.allows(Some(b"https://shop.example")) && web.allows(None));
        assert!(!web.allows(Some(b"https://evil.example")) && !web.allows(Some(b"null")));
        assert!(app.allows(Some(b"https://evil.example")));
    }

    #[test]
    fn without_tiers_and_origins_nothing_holds() {
        let mut plain = config(10);
        plain.tiers.clear();
        plain.sources[0].origins.clear();
        assert!(Policies::new(&plain, None).of(b"web").is_none());
        plain.sources.clear();
        assert!(Policies::new(&plain, None).of(b"web").is_none());
    }

    #[test]
    fn counts_of_a_day_go_on_in_another_process() {
        let open = Config { tiers: config(10).tiers, ..Config::default() };
        for config in [config(10), open] {
            let before = Policies::new(&config, None);
            assert!(charge(&before, "web", 7) && charge(&before, "app", 1));
            let counts = before.of_day(0).expect("there is a quota");
            let after = Policies::new(&config, None);
            assert!(after.restore(&counts, 0));
            assert_eq!((remaining(&after, "web"), after.of_day(0)), (3, Some(counts.clone())));
            // What is known already is not counted twice, and what it has counted since stays.
            assert!(charge(&after, "web", 1) && after.restore(&counts, 0));
            assert_eq!(remaining(&after, "web"), 2);
            // Of another day nothing is left.
            let next_day = Policies::new(&config, None);
            assert!(next_day.restore(&Counts { day: 1, ..counts }, 0));
            assert_eq!(remaining(&next_day, "web"), 10);
        }
    }

    #[test]
    fn counts_of_other_settings_or_of_another_hash_are_not_used() {
        let open = || Policies::new(&Config { tiers: config(10).tiers, ..Config::default() }, None);
        let configured = Policies::new(&config(10), None);
        assert!(charge(&configured, "web", 7));
        let of_sources = configured.of_day(0).unwrap();
        assert!(!open().restore(&of_sources, 0));
        let before = open();
        assert!(charge(&before, "web", 7));
        let of_slots = before.of_day(0).unwrap();
        assert!(!configured.restore(&of_slots, 0));
        let Of::Slots { seed, check, counts } = of_slots.of.clone() else { panic!("{of_slots:?}") };
        let other = Of::Slots { seed, check: check ^ 1, counts };
        assert!(!open().restore(&Counts { day: 0, of: other }, 0));
        let busy = open();
        assert!(charge(&busy, "app", 1) && !busy.restore(&of_slots, 0), "its own counts lie elsewhere");
        assert_eq!(Policies::default().of_day(0), None);
    }
}
