//! Partitions that get no records because others of their lane do. Pure.

use std::fmt;
use std::time::{Duration, Instant};

/// A partition that has been used for so long is used again, for people: one whose acknowledgements take as long as the
/// patience with it comes and goes with each.
const STEADY: Duration = Duration::from_secs(5);

/// Why a partition is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Nobody leads it.
    NoLeader,
    /// It has records and acknowledges none.
    NoProgress,
}

impl fmt::Display for Why {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::NoLeader => "no leader",
            Self::NoProgress => "no progress",
        })
    }
}

/// A partition that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) partition: u32,
    pub(crate) why: Why,
}

/// What is news of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    LeftOut(LeftOut),
    /// It gets records again.
    Used(u32),
}

/// The partitions that were said to be left out, and when each last was.
#[derive(Debug, Default)]
pub(super) struct Said(Vec<(u32, Instant)>);

impl Said {
    /// What is news where these are left out. Another reason is none: that it is left out was said.
    pub(super) fn news(&mut self, left_out: &[LeftOut], now: Instant) -> Vec<News> {
        let mut news = Vec::new();
        for one in left_out {
            if let Some((_, last)) = self.0.iter_mut().find(|(partition, _)| *partition == one.partition) {
                *last = now;
            } else {
                self.0.push((one.partition, now));
                news.push(News::LeftOut(*one));
            }
        }
        self.0.retain(|(partition, last)| {
            let is_steady = now.saturating_duration_since(*last) >= STEADY;
            if is_steady {
                news.push(News::Used(*partition));
            }
            !is_steady
        });
        news
    }
}

/// The list for people, or nothing where there is none: how many, and of each why.
pub(crate) fn sentence(left_out: &[LeftOut]) -> Option<String> {
    /// More are not named.
    const NAMED_MAX: usize = 8;
    let (named, rest) = left_out.split_at(left_out.len().min(NAMED_MAX));
    let mut names: Vec<_> = named.iter().map(|LeftOut { partition, why }| format!("{partition} ({why})")).collect();
    if !rest.is_empty() {
        names.push(format!("{} more", rest.len()));
    }
    (!names.is_empty()).then(|| format!("{} left out: {}", left_out.len(), names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(partition: u32, why: Why) -> LeftOut {
        LeftOut { partition, why }
    }

    #[test]
    fn each_change_is_news_once() {
        let (start, mut said) = (Instant::now(), Said::default());
        let both = [one(3, Why::NoProgress), one(5, Why::NoProgress)];
        assert_eq!(said.news(&both, start), both.map(News::LeftOut));
        assert_eq!(said.news(&both, start + STEADY), [], "however long it takes");
        let other = [one(5, Why::NoLeader), one(8, Why::NoLeader)];
        assert_eq!(said.news(&other, start + STEADY), [News::LeftOut(other[1])]);
        assert_eq!(said.news(&other, start + 2 * STEADY), [News::Used(3)]);
        assert_eq!(said.news(&other, start + 3 * STEADY), []);
    }

    #[test]
    fn one_that_comes_and_goes_is_said_once() {
        let (start, mut said) = (Instant::now(), Said::default());
        let slow = [one(3, Why::NoProgress)];
        assert_eq!(said.news(&slow, start).len(), 1);
        for second in 1..100 {
            let now = start + Duration::from_secs(second);
            assert_eq!(said.news(if second % 2 == 0 { &slow } else { &[] }, now), []);
        }
    }

    #[test]
    fn people_read_how_many_and_why() {
        assert_eq!(sentence(&[]), None);
        let two = [one(3, Why::NoLeader), one(5, Why::NoProgress)];
        assert_eq!(sentence(&two).unwrap(), "2 left out: 3 (no leader), 5 (no progress)");
        let many: Vec<_> = (0..100).map(|partition| one(partition, Why::NoLeader)).collect();
        assert!(sentence(&many).unwrap().ends_with("7 (no leader), 92 more"));
    }
}
