//! Random steps against a map: every verdict is the map's, whatever was sealed, dropped, discarded or reopened.

use std::collections::HashMap;

use dedup::{DecidedBatch, Verdict};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::rig::{Rig, digest, genesis};

/// One identity and when it was received.
type Event = (u64, i64);

/// Each reopens some twenty times, which syncs; 150 were run for the first version.
const SEEDS: u64 = 40;
const STEPS: usize = 400;

struct Model {
    /// Newest bucket of each identity that the changelog or a decided batch has.
    known: HashMap<u64, u32>,
    /// Decided and not committed: batch, and the map before it.
    pending: Vec<(DecidedBatch, HashMap<u64, u32>)>,
    /// Buckets older than this may have been dropped; after a step back of the clock they may be known or not.
    dropped_below: u32,
}

#[test]
fn every_verdict_is_the_maps() {
    let mut figures = [0_u64; 6];
    for seed in 0..SEEDS {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut rig = Rig::new(random.random_range(1..200));
        let mut model = Model { known: HashMap::new(), pending: Vec::new(), dropped_below: 0 };
        for step in 0..STEPS {
            let place = format!("seed {seed} step {step}");
            match random.random_range(0..100) {
                0..45 => decide(&mut rig, &mut model, &mut random, &mut figures, &place),
                45..70 => {
                    if !model.pending.is_empty() {
                        rig.commit(model.pending.remove(0).0);
                    }
                }
                70..80 => {
                    let done = rig.maintain();
                    figures[4] += u64::from(done.digests_sealed > 0);
                    figures[5] += u64::from(done.runs_dropped);
                    model.drop_below(rig.clock_ms);
                }
                80..84 => {
                    rig.index().discard();
                    model.discard();
                }
                84..90 => {
                    rig.reopen();
                    model.discard();
                    model.drop_below(rig.clock_ms);
                    figures[3] += 1;
                }
                90..98 => rig.clock_ms += random.random_range(0..1500),
                // An input's clock can be behind what was decided before.
                98 => rig.clock_ms -= random.random_range(0..500),
                _ => {
                    rig.index().seal().unwrap();
                }
            }
        }
    }
    let [new, duplicate, expired, reopened, sealed, dropped] = figures;
    println!(
        "new {new}, duplicate {duplicate}, expired {expired}, reopened {reopened}, sealed {sealed}, dropped {dropped}"
    );
    assert!(new > 10_000 && duplicate > 10_000 && expired > 1_000, "every verdict is seen");
    assert!(reopened > 500 && sealed > 200 && dropped > 200, "every step is taken");
}

fn decide(rig: &mut Rig, model: &mut Model, random: &mut SmallRng, figures: &mut [u64; 6], place: &str) {
    if model.pending.len() == dedup::PENDING_BATCHES_MAX {
        return;
    }
    let window = genesis().window;
    let names = [50, 500, 5_000][random.random_range(0..3)];
    let events: Vec<Event> = (0..random.random_range(0..60))
        .map(|_| {
            let age = [0, 800, 4_000, 12_000][random.random_range(0..4)];
            (random.random_range(0..names), rig.clock_ms - random.random_range(-500..=age))
        })
        .collect();
    let before = model.known.clone();
    let (verdicts, batch) = rig.decide_received(&events);
    let mut published = batch.entries().iter();
    for ((name, received_at_ms), verdict) in events.iter().zip(&verdicts) {
        let known = model.known.get(name).filter(|bucket| **bucket >= window.oldest(rig.clock_ms).0);
        let kept = match known {
            Some(bucket) if *bucket < model.dropped_below => *verdict == Verdict::Duplicate,
            known => known.is_some(),
        };
        let expected = match (kept, window.is_expired(*received_at_ms, rig.clock_ms)) {
            (true, _) => Verdict::Duplicate,
            (false, true) => Verdict::Expired,
            (false, false) => Verdict::New,
        };
        assert_eq!(*verdict, expected, "{place}: {name}");
        figures[expected as usize] += 1;
        if expected != Verdict::Duplicate {
            let bucket = window.bucket_of(*received_at_ms, rig.clock_ms, rig.clock_ms);
            assert_eq!(published.next(), Some(&(digest(*name), bucket)), "{place}: {name}");
            let newest = model.known.entry(*name).or_insert(bucket.0);
            *newest = bucket.0.max(*newest);
        }
    }
    assert_eq!(published.next(), None, "{place}");
    model.pending.push((batch, before));
}

impl Model {
    fn drop_below(&mut self, clock_ms: i64) {
        self.dropped_below = self.dropped_below.max(genesis().window.oldest(clock_ms).0);
    }

    fn discard(&mut self) {
        if let Some((_, before)) = self.pending.drain(..).next() {
            self.known = before;
        }
    }
}
