use wire::LaneCount;

use super::*;
use crate::forward::outlets::track::{IDLE, TRY_AGAIN};

const LIMIT: Duration = Duration::from_secs(1);
const NONE: Stall = Stall { known: Duration::ZERO, new: Duration::ZERO };

fn known(ms: u64) -> Stall {
    Stall { known: Duration::from_millis(ms), ..NONE }
}

fn new(ms: u64) -> Stall {
    Stall { new: Duration::from_millis(ms), ..NONE }
}

/// So many tracks, and no lanes known.
fn progress(tracks: usize, now: Instant) -> Progress {
    let mut progress = Progress::new(LIMIT, now);
    progress.reach(tracks - 1, now);
    progress
}

/// So many tracks that have acknowledged a record each.
fn connected(tracks: usize, start: Instant) -> Progress {
    let mut progress = progress(tracks, start);
    for track in 0..tracks {
        progress.handed_over(track, 1, start);
        progress.came_back(track, 1, true, start);
    }
    progress
}

#[test]
fn one_frozen_partition_among_others_is_seen() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut progress = connected(2, start);
    assert_eq!(progress.stall(at(900)), NONE, "nothing handed over, nothing stalled");
    progress.handed_over(0, 1, at(1000));
    progress.handed_over(1, 1, at(1000));
    progress.handed_over(1, 1, at(1400));
    progress.came_back(1, 1, true, at(1500));
    assert_eq!(progress.stall(at(1500)), known(500), "the other track's acknowledgement");
    progress.came_back(0, 1, true, at(1500));
    assert_eq!(progress.stall(at(1600)), known(100));
    progress.came_back(1, 1, false, at(1700));
    assert_eq!((progress.outstanding(), progress.stall(at(9000))), (0, NONE));
}

#[test]
fn a_failure_is_no_progress_and_idle_time_does_not_count() {
    let start = Instant::now();
    let mut progress = connected(1, start);
    progress.handed_over(0, 1, start);
    progress.handed_over(0, 1, start);
    let later = start + Duration::from_secs(5);
    progress.came_back(0, 1, false, later);
    assert_eq!(progress.stall(later), known(5000));
    progress.clear();
    assert_eq!(progress.stall(later), NONE);
    progress.handed_over(0, 1, later);
    assert_eq!(progress.stall(later), NONE);
}

#[test]
fn a_partition_is_new_until_its_first_acknowledgement() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut progress = progress(2, start);
    progress.handed_over(0, 1, start);
    progress.handed_over(1, 1, start);
    progress.came_back(0, 1, false, at(10));
    assert_eq!(progress.stall(at(700)), new(700), "a failure is no acknowledgement");
    progress.came_back(1, 1, true, at(700));
    progress.handed_over(0, 1, at(800));
    progress.handed_over(1, 1, at(900));
    assert_eq!(progress.stall(at(1000)), Stall { new: Duration::from_millis(200), ..known(100) });
    progress.came_back(0, 1, true, at(1000));
    progress.handed_over(0, 1, at(1000));
    assert_eq!(progress.stall(at(1100)), known(200));
}

#[test]
fn it_is_new_again_when_its_connection_may_be_gone() {
    let start = Instant::now();
    let mut progress = connected(1, start);
    let soon = start + IDLE / 2;
    progress.handed_over(0, 1, soon);
    progress.came_back(0, 1, true, soon);
    let later = soon + IDLE;
    progress.handed_over(0, 1, later);
    let second = Duration::from_secs(1);
    assert_eq!(progress.stall(later + second), new(1000), "idle");
    progress.came_back(0, 1, true, later);
    progress.handed_over(0, 1, later);
    assert_eq!(progress.stall(later + second), known(1000));
    progress.renew();
    assert_eq!(progress.stall(later + second), new(1000), "left and come back to");
}

fn choice(lanes: u32, partitions: u32) -> Option<Choice> {
    Choice::new(LaneCount::try_new(lanes).unwrap(), partitions)
}

/// Partitions of these lanes that have acknowledged a record each.
fn laned(lanes: u32, partitions: u32, start: Instant) -> Progress {
    let mut progress = connected(partitions as usize + 1, start);
    progress.follow(choice(lanes, partitions), &[], start);
    progress
}

fn partitions(progress: &Progress, now: Instant) -> Vec<(u32, Why)> {
    progress.left_out(now).iter().map(|one| (one.partition, one.why)).collect()
}

#[test]
fn a_frozen_partition_is_left_out_and_stalls_nobody_while_its_lane_goes_on() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut progress = laned(2, 4, start);
    let (frozen, sibling, other) = (track_of(Some(1)), track_of(Some(3)), track_of(Some(0)));
    progress.handed_over(frozen, 1, at(0));
    for ms in (0..900).step_by(100) {
        for track in [sibling, other] {
            progress.handed_over(track, 1, at(ms));
            progress.came_back(track, 1, true, at(ms + 50));
        }
    }
    progress.judge(at(499));
    assert_eq!((partitions(&progress, at(499)), progress.stall(at(499))), (vec![], NONE), "acknowledged since");
    progress.judge(at(500));
    assert_eq!(partitions(&progress, at(500)), [(1, Why::NoProgress)]);
    assert_eq!((progress.health(1, at(500)), progress.health(3, at(500))), (Health::Slow, Health::Good));
    assert!(progress.is_left_out(frozen, at(500)) && !progress.is_left_out(sibling, at(500)));
    progress.handed_over(sibling, 1, at(500));
    assert_eq!((progress.outstanding(), progress.awaited(at(500))), (2, 1));
    progress.came_back(sibling, 1, true, at(900));
    assert_eq!(progress.stall(at(20_000)), NONE, "it is the partition's, not the lane's");
    progress.came_back(frozen, 1, true, at(29_000));
    assert_eq!((partitions(&progress, at(29_000)), progress.health(1, at(29_000))), (vec![], Health::Good));
}

#[test]
fn a_lane_is_stalled_when_none_of_its_partitions_acknowledges_anything() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut progress = laned(2, 4, start);
    for partition in 0..4 {
        progress.handed_over(track_of(Some(partition)), 1, at(100 + u64::from(partition) * 10));
    }
    progress.came_back(track_of(Some(0)), 1, true, at(400));
    progress.judge(at(1000));
    assert_eq!(progress.stall(at(1000)), known(890), "since the lane of 1 and 3 was given the first");
    assert_eq!(partitions(&progress, at(1000)), [(2, Why::NoProgress)], "the other lane has nothing else");
    assert_eq!([1, 3].map(|partition| progress.health(partition, at(1000))), [Health::Slow; 2]);
    progress.came_back(track_of(Some(3)), 1, true, at(1050));
    assert_eq!(progress.stall(at(1100)), NONE, "it has gone on without 1, as the other without 2");
    progress.handed_over(track_of(Some(3)), 1, at(1100));
    assert_eq!(progress.stall(at(1300)), known(200));
}

#[test]
fn with_as_many_partitions_as_lanes_each_stalls_the_cluster_alone() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let (mut unknown, mut laned) = (connected(5, start), laned(4, 4, start));
    for progress in [&mut unknown, &mut laned] {
        progress.handed_over(1, 1, at(0));
        for track in [2, 3, 4] {
            progress.handed_over(track, 1, at(100));
            progress.came_back(track, 1, true, at(600));
        }
        progress.judge(at(900));
        assert_eq!((progress.stall(at(900)), progress.left_out(at(900))), (known(900), vec![]));
        assert!(!progress.is_left_out(1, at(900)));
    }
}

#[test]
fn lanes_that_become_known_later_are_those_of_what_is_out_already() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut progress = connected(5, start);
    progress.handed_over(1, 1, at(0));
    progress.handed_over(3, 1, at(100));
    progress.came_back(3, 1, true, at(800));
    progress.handed_over(3, 1, at(800));
    assert_eq!(progress.stall(at(900)), known(900));
    progress.follow(choice(2, 4), &[], at(900));
    assert_eq!(progress.stall(at(900)), known(100), "partitions 0 and 2 are of one lane");
    progress.follow(None, &[], at(900));
    assert_eq!(progress.stall(at(900)), known(100), "what was known holds");
}

#[test]
fn events_that_were_set_aside_are_a_lane_of_their_own() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut progress = laned(1, 4, start);
    progress.handed_over(REJECTED, 1, at(0));
    progress.handed_over(1, 1, at(0));
    progress.came_back(1, 1, true, at(900));
    progress.judge(at(1000));
    assert_eq!(progress.stall(at(1000)), known(1000));
    assert!(!progress.is_left_out(REJECTED, at(1000)));
    assert_eq!((progress.lane(REJECTED), progress.lane(1), progress.lane(4)), (REJECTED, 1, 1));
}

#[test]
fn a_slow_partition_is_tried_with_one_record_which_stalls_nobody() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let mut progress = laned(1, 2, start);
    progress.handed_over(1, 1, at(0));
    progress.judge(at(500));
    progress.came_back(1, 1, false, at(600));
    let next = at(600) + TRY_AGAIN;
    assert_eq!(progress.health(0, next), Health::Good);
    progress.handed_over(1, 1, next);
    assert_eq!(progress.health(0, next), Health::Slow, "one was enough");
    assert_eq!(progress.stall(next + LIMIT), NONE, "nothing else was sent, and the other partition may take it");
    progress.handed_over(2, 1, next);
    progress.judge(next + LIMIT);
    assert_eq!(progress.stall(next + LIMIT), known(1000), "it does not");
    progress.clear();
    progress.judge(next + LIMIT);
    assert_eq!(progress.health(0, next + LIMIT), Health::Slow, "a new producer changes nothing for the partition");
}

#[test]
fn a_partition_that_nobody_leads_is_left_out_while_its_lane_has_another() {
    let start = Instant::now();
    let mut progress = laned(2, 4, start);
    progress.follow(choice(2, 4), &[1], start);
    assert_eq!((progress.health(1, start), progress.health(3, start)), (Health::Slow, Health::Good));
    assert_eq!(partitions(&progress, start), [(1, Why::NoLeader)]);
    progress.follow(choice(2, 4), &[1, 3, 9], start);
    assert_eq!((progress.health(3, start), partitions(&progress, start)), (Health::Slow, vec![]), "it has no other");
    progress.follow(choice(2, 4), &[], start);
    assert_eq!(progress.health(1, start), Health::Good);
}

#[test]
fn a_lane_has_room_for_its_share_and_what_is_left_out_does_not_count() {
    let start = Instant::now();
    let mut progress = laned(2, 4, start);
    let share = Bounds { records_max: 3, bytes_max: 100 };
    let (one, sibling, other) = (track_of(Some(0)), track_of(Some(2)), track_of(Some(1)));
    progress.handed_over(one, 10, start);
    progress.handed_over(one, 10, start);
    assert!(progress.has_room(sibling, share, start));
    progress.handed_over(sibling, 10, start);
    assert!(!progress.has_room(one, share, start) && progress.has_room(other, share, start));
    progress.came_back(sibling, 10, true, start);
    progress.handed_over(sibling, 80, start);
    progress.came_back(one, 10, false, start);
    assert!(progress.has_room(one, share, start), "two records of 90 bytes");
    progress.handed_over(other, 100, start);
    progress.handed_over(track_of(Some(3)), 1, start);
    assert!(!progress.has_room(other, share, start), "one of 100");
    progress.handed_over(one, 10, start);
    assert!(!progress.has_room(sibling, share, start));
    progress.came_back(sibling, 80, true, start + LIMIT);
    progress.judge(start + LIMIT);
    assert!(progress.is_left_out(one, start + LIMIT));
    progress.handed_over(sibling, 10, start + LIMIT);
    progress.handed_over(sibling, 10, start + LIMIT);
    assert!(progress.has_room(sibling, share, start + LIMIT), "the two of the slow one do not count");
    progress.handed_over(sibling, 10, start + LIMIT);
    assert!(!progress.has_room(sibling, share, start + LIMIT));
    assert!(!progress.has_room(other, share, start + LIMIT), "a lane that has nothing else has no more than its share");
}
