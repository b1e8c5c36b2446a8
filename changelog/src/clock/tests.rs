//! Rule: no event expires before its window has passed, whatever is away and whichever one clock is wrong; nor where two are
//! wrong that contradict each other, or agree for a moment.

use std::collections::HashMap;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use wire::window::DAY_MS;
use wire::{Bucket, Window};

use super::*;

const DAY: i64 = DAY_MS as i64;
const HOUR: i64 = 3_600_000;
const BUCKET: Duration = Duration::from_millis(DAY_MS);
const RETENTION: Duration = Duration::from_millis(7 * DAY_MS);
const START: i64 = 20_000 * DAY;

fn clock(clock_ms: i64) -> Clock {
    Clock::resume(clock_ms, BUCKET, RETENTION)
}

fn at(wall_ms: i64) -> Now {
    Now { wall_ms, stamped_ms: Some(wall_ms), since: Duration::ZERO }
}

/// Both inputs.
fn inputs(first: Reached, second: Reached) -> [(InputId, Reached); 2] {
    [(InputId(0), first), (InputId(1), second)]
}

fn behind(appended_ms: i64) -> Reached {
    Reached::Behind { appended_ms }
}

#[test]
fn the_slower_input_is_the_clock_and_it_never_goes_back() {
    let mut clock = clock(START);
    assert_eq!(clock.advance([], at(START + HOUR)), Moved::To(START), "nothing configured, nothing known");
    assert_eq!(clock.advance(inputs(behind(START + 50), Reached::End), at(START + HOUR)), Moved::To(START + 50));
    assert_eq!(clock.advance(inputs(behind(START + 40), behind(START + 70)), at(START + HOUR)), Moved::To(START + 50));
    assert_eq!(clock.advance(inputs(Reached::End, Reached::End), at(START + HOUR)), Moved::To(START + HOUR));
}

#[test]
fn an_input_that_is_away_holds_it_for_as_long_as_it_keeps_records() {
    let mut clock = clock(START);
    let away = inputs(Reached::End, Reached::Away);
    for day in 1..=7 {
        assert_eq!(clock.advance(away, at(START + day * DAY)), Moved::To(START));
    }
    assert_eq!(clock.advance(away, at(START + 7 * DAY + HOUR)), Moved::To(START + HOUR));
}

#[test]
fn it_enters_one_bucket_and_waits_until_that_is_committed() {
    let mut clock = clock(START + HOUR);
    let ends = inputs(Reached::End, Reached::End);
    for _ in 0..2 {
        assert_eq!(clock.advance(ends, at(START + 9 * DAY)), Moved::To(START + DAY));
        assert!(clock.wants_commit());
    }
    clock.entered();
    assert!(!clock.wants_commit());
    assert_eq!(clock.advance(ends, at(START + 9 * DAY)), Moved::To(START + 2 * DAY));
}

#[test]
fn a_wall_that_contradicts_the_stamp_moves_nothing() {
    let mut clock = clock(START);
    let ends = inputs(Reached::End, Reached::End);
    let wrong = Now { wall_ms: START + 40 * DAY, stamped_ms: Some(START), since: Duration::from_secs(4) };
    for _ in 0..100 {
        let moved = clock.advance(ends, wrong);
        assert_eq!(moved, Moved::Disagree { wall_ms: wrong.wall_ms, stamped_ms: START + 4_000 });
        clock.entered();
    }
    assert_eq!(clock.now_ms(), START);
    // Behind is as wrong as ahead; right again, it goes on.
    assert!(matches!(clock.advance(ends, Now { wall_ms: START - 2 * HOUR, ..wrong }), Moved::Disagree { .. }));
    assert_eq!(clock.advance(ends, at(START + HOUR)), Moved::To(START + HOUR));
    let unstamped = Now { stamped_ms: None, ..at(START + 2 * HOUR) };
    assert_eq!(clock.advance(ends, unstamped), Moved::To(START + HOUR), "before the first stamp");
    assert_eq!(wrong.newest_ms(), START + 40 * DAY, "events of that day are believed all the same");
}

#[test]
fn a_record_from_the_future_says_nothing() {
    let mut clock = clock(START);
    assert_eq!(clock.advance(inputs(behind(START + 60), Reached::End), at(START + HOUR)), Moved::To(START + 60));
    let future = inputs(behind(START + 5 * DAY), Reached::End);
    assert_eq!(clock.advance(future, at(START + 2 * HOUR)), Moved::To(START + 60));
    let nearly = inputs(behind(START + 2 * HOUR + HOUR), Reached::End);
    assert_eq!(clock.advance(nearly, at(START + 2 * HOUR)), Moved::To(START + 2 * HOUR), "never ahead of now");
}

#[test]
fn a_new_log_begins_before_all_that_its_inputs_may_hold() {
    let mut clock = Clock::begin(START, BUCKET, RETENTION);
    assert_eq!(clock.now_ms(), START - 7 * DAY);
    let mut commits = 0;
    while clock.now_ms() < START {
        clock.advance(inputs(Reached::End, Reached::End), at(START));
        clock.entered();
        commits += 1;
    }
    assert_eq!(commits, 7);
    let seconds = Clock::begin(START, Duration::from_secs(2), RETENTION);
    assert_eq!(seconds.step_ms, DAY, "short buckets are entered by the dozen");
}

/// Which clock is wrong in a run, by how much, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    Wall,
    Stamp,
    Input(usize),
    /// Wall and stamp, both ahead, by as much again as they differ.
    Both,
    /// The same and alike, in one look at them.
    Moment,
}

/// A time at which something is so: from, to.
type Span = (i64, i64);

/// One run of 62 days, an hour a step: two inputs with outages of their own, a worker and its output that are away now and
/// then, one that begins anew every other day, one clock that is wrong for a while. Events come in on either input, and once
/// more up to 28 days later, often as late as that.
struct Run {
    rng: SmallRng,
    clock: Clock,
    /// Where the clock stood when that was committed last; `None` before the first time.
    committed_ms: Option<i64>,
    window: Window,
    wrong: (Wrong, i64, Span),
    away: [Vec<Span>; 2],
    idle: Vec<Span>,
    /// The share of events that come in on the second input: one that is read to its end holds the clock back no more.
    second: f64,
    queues: [Vec<Record>; 2],
    stamp: Option<(i64, i64)>,
    /// Looks at the clocks in this hour.
    looks: u32,
    /// What the index knows, as runs that expire whole would keep it at most.
    known: HashMap<u32, Bucket>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    event: u32,
    received_ms: i64,
    appended_ms: i64,
}

const HOURS: i64 = 62 * 24;
const WRONG: [Wrong; 7] =
    [Wrong::Nothing, Wrong::Wall, Wrong::Stamp, Wrong::Input(0), Wrong::Input(1), Wrong::Both, Wrong::Moment];
/// Between two takeovers, on average.
const RESTART_HOURS: u32 = 48;
/// The oldest record that retention leaves: that of a segment of a day.
const KEPT_MS_MAX: i64 = 8 * DAY;
/// Some seconds of them, on one core.
const RUNS: u64 = 3_000;

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut spans = |count: usize, days_max: i64| -> Vec<Span> {
            (0..rng.random_range(0..=count))
                .map(|_| {
                    let from = rng.random_range(0..HOURS);
                    (from, from + rng.random_range(1..days_max * 24))
                })
                .collect()
        };
        // Workers, and their output, are never away for as long as the inputs keep records.
        let (mut away, idle) = ([spans(3, 6), spans(3, 6)], spans(2, 6));
        let wrong = WRONG[rng.random_range(0..WRONG.len())];
        let is_ahead = matches!(wrong, Wrong::Both | Wrong::Moment) || rng.random();
        let by = rng.random_range(2 * HOUR..60 * DAY) * if is_ahead { 1 } else { -1 };
        let from = match (wrong, idle.first()) {
            // What is read first then is of the wrong clock, and behind it lies what is days old.
            (Wrong::Input(_), Some((from, _))) if rng.random() => *from,
            _ => rng.random_range(1..HOURS),
        };
        let wrong = (wrong, by, (from, from + rng.random_range(1..200)));
        // Those that are known and said: an input's clock that is wrong while its cluster is away, too, and inputs that are
        // away when two clocks are wrong alike, because nothing is left then of how far those were read.
        match wrong.0 {
            Wrong::Input(input) => away[input].clear(),
            Wrong::Moment => away.iter_mut().for_each(Vec::clear),
            _ => {}
        }
        let second = [0.5, 0.05, 0.95][rng.random_range(0..3)];
        Self {
            rng,
            clock: Clock::begin(START, BUCKET, RETENTION),
            committed_ms: None,
            window: Window::default(),
            wrong,
            away,
            idle,
            second,
            queues: [Vec::new(), Vec::new()],
            stamp: None,
            looks: 0,
            known: HashMap::new(),
        }
    }

    /// What one of the clocks shows.
    fn shows(&self, which: Wrong, hour: i64) -> i64 {
        let (wrong, by, (from, to)) = self.wrong;
        let right = START + hour * HOUR;
        match wrong {
            _ if !(from..to).contains(&hour) => right,
            Wrong::Both if which == Wrong::Wall => right + by,
            Wrong::Both if which == Wrong::Stamp => right + 2 * by,
            _ if wrong == which => right + by,
            _ => right,
        }
    }

    fn now(&self, hour: i64) -> Now {
        let (wrong, by, (from, _)) = self.wrong;
        if (wrong, self.looks, from) == (Wrong::Moment, 0, hour) {
            return at(START + hour * HOUR + by);
        }
        let (stamped_ms, since) = match self.stamp {
            Some((stamp_ms, at)) => (Some(stamp_ms), Duration::from_millis(((hour - at) * HOUR) as u64)),
            None => (None, Duration::ZERO),
        };
        Now { wall_ms: self.shows(Wrong::Wall, hour), stamped_ms, since }
    }

    fn commit(&mut self, hour: i64) {
        self.clock.entered();
        self.committed_ms = Some(self.clock.now_ms());
        self.stamp = Some((self.shows(Wrong::Stamp, hour), hour));
    }

    /// Another worker takes over: it knows what is committed, and no stamp and no input yet.
    fn restart(&mut self) {
        if let Some(committed_ms) = self.committed_ms {
            (self.clock, self.stamp) = (clock(committed_ms), None);
        }
    }

    fn run(mut self) {
        let mut repeats: Vec<(i64, u32)> = Vec::new();
        for hour in 0..HOURS {
            for event in [hour as u32 * 2, hour as u32 * 2 + 1] {
                self.arrive(hour, event);
                let least = if self.rng.random() { 27 * 24 } else { 0 };
                repeats.push((hour + self.rng.random_range(least..=28 * 24), event));
            }
            let due: Vec<u32> = repeats.iter().filter(|(at, _)| *at == hour).map(|(_, event)| *event).collect();
            for event in due {
                self.arrive(hour, event);
            }
            if self.rng.random_ratio(1, RESTART_HOURS) {
                self.restart();
            }
            if !is_in(&self.idle, hour) {
                self.work(hour);
            }
        }
    }

    fn arrive(&mut self, hour: i64, event: u32) {
        let mut input = usize::from(self.rng.random_bool(self.second));
        if is_in(&self.away[input], hour) {
            input = 1 - input;
        }
        let appended_ms = self.shows(Wrong::Input(input), hour);
        self.queues[input].push(Record { event, received_ms: START + hour * HOUR, appended_ms });
    }

    fn work(&mut self, hour: i64) {
        // An outage may be longer than an input keeps records; a segment of them goes as a whole, and so some of them late.
        for queue in &mut self.queues {
            queue.retain(|record| START + hour * HOUR - record.received_ms <= KEPT_MS_MAX);
        }
        if self.stamp.is_none() {
            self.commit(hour);
        }
        self.looks = 0;
        loop {
            let reached = |input: usize| match (is_in(&self.away[input], hour), self.queues[input].first()) {
                (true, _) => Reached::Away,
                (false, Some(record)) => behind(record.appended_ms),
                (false, None) => Reached::End,
            };
            let inputs = inputs(reached(0), reached(1));
            self.clock.advance(inputs, self.now(hour));
            self.looks += 1;
            if self.clock.wants_commit() {
                self.commit(hour);
                continue;
            }
            let mut batch = Vec::new();
            for input in 0..2 {
                if !is_in(&self.away[input], hour) {
                    let count = self.rng.random_range(1..40).min(self.queues[input].len());
                    batch.extend(self.queues[input].drain(..count));
                }
            }
            if batch.is_empty() {
                return;
            }
            for record in batch {
                self.decide(&record, hour);
            }
            self.commit(hour);
        }
    }

    fn decide(&mut self, record: &Record, hour: i64) {
        let (clock_ms, newest_ms) = (self.clock.now_ms(), self.now(hour).newest_ms());
        let bucket = self.window.bucket_of(record.received_ms, clock_ms, newest_ms);
        let oldest = self.window.oldest(clock_ms);
        if let Some(known) = self.known.get(&record.event) {
            assert!(
                *known >= oldest,
                "{:?}: event {} of bucket {known:?} is forgotten in hour {hour}, when {oldest:?} is the oldest",
                self.wrong,
                record.event
            );
            return;
        }
        self.known.insert(record.event, bucket);
    }
}

fn is_in(spans: &[Span], hour: i64) -> bool {
    spans.iter().any(|(from, to)| (*from..*to).contains(&hour))
}

#[test]
fn no_repeat_within_28_days_meets_a_window_that_has_forgotten_it() {
    for seed in 0..RUNS {
        Run::new(seed).run();
    }
}
