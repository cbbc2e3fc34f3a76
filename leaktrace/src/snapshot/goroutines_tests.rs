//! Goroutines that come and go, reading by reading.

use std::collections::HashMap;

use leaktrace_common::lifetime_bucket;

use super::{Creation, GoroutineSample, GoroutineTracker, SITES_MAX};
use crate::{
    memory::goroutines::{Goroutine, Goroutines, NoStack, Stack, Status},
    snapshot::survey,
};

const S: u64 = 1_000_000_000;

fn goroutine(id: u64, line: u64) -> Goroutine {
    Goroutine {
        id,
        slot: id as u32,
        status: Status::Waiting,
        wait_reason: None,
        waiting_since_ns: 0,
        parent_id: 1,
        creator_pc: line,
        start_pc: 0x200,
        locked_to_thread: false,
        stack_bytes: 2048 * line,
        labels: None,
        stack: Stack::Unknown(NoStack::Running),
    }
}

const fn site(line: u64) -> Creation {
    Creation { creator_pc: line, start_pc: 0x200 }
}

fn reading(alive: &[(u64, u64)]) -> Goroutines {
    let mut goroutines = Goroutines::default();
    goroutines.list = alive.iter().map(|(id, line)| goroutine(*id, *line)).collect();
    goroutines
}

fn observe(tracker: &mut GoroutineTracker, s: u64, alive: &[(u64, u64)]) -> GoroutineSample {
    tracker.observe(s * S, &reading(alive), &mut |one| one.creator_pc != 99)
}

#[test]
fn who_comes_and_who_goes_is_counted_by_site() {
    let mut tracker = GoroutineTracker::default();
    let first = observe(&mut tracker, 10, &[(1, 7), (2, 7), (3, 8), (4, 99)]);
    assert_eq!((first.live, first.newest_id), (3, 3), "the runtime's own are left out");
    let seven = &first.sites[&site(7)];
    assert_eq!((seven.live, seven.stack_bytes, seven.started), (2, 2 * 7 * 2048, 0));
    observe(&mut tracker, 12, &[(2, 7), (3, 8), (20, 7), (21, 7), (22, 8), (23, 7)]);
    let last = observe(&mut tracker, 14, &[(3, 8), (21, 7), (22, 8), (23, 7)]);
    let seven = &last.sites[&site(7)];
    assert_eq!((seven.live, seven.started, seven.ended, seven.ended_before), (2, 3, 1, 2));
    // Born in the first quarter of 10..12 s, seen at 12 s.
    assert_eq!(seven.lifetimes[lifetime_bucket(2 * S - S / 4)], 1);
    let births = tracker.births_s(10 * S);
    assert_eq!(births[&site(7)], [0.75, 1.75]);
    assert_eq!(births[&site(8)], [1.25]);
    let eight = last.sites[&site(8)].as_site();
    assert_eq!((eight.created, eight.released, eight.outstanding), (1, 0, 2));
}

#[test]
fn a_goroutine_that_a_reading_missed_has_not_ended() {
    let mut tracker = GoroutineTracker::default();
    observe(&mut tracker, 10, &[(1, 7), (2, 7)]);
    let mut torn = reading(&[(1, 7)]);
    torn.lost.torn = 1;
    let all = |_: &Goroutine| true;
    let missed = tracker.observe(11 * S, &torn, &mut all.clone());
    assert_eq!((missed.live, missed.sites[&site(7)].ended_before), (2, 0));
    let back = observe(&mut tracker, 12, &[(1, 7), (2, 7)]);
    assert_eq!((back.live, back.sites[&site(7)].started), (2, 0));
    tracker.observe(13 * S, &torn, &mut all.clone());
    let gone = tracker.observe(14 * S, &torn, &mut all.clone());
    assert_eq!((gone.live, gone.sites[&site(7)].ended_before), (1, 1));
}

#[test]
fn who_has_anothers_slot_is_another() {
    let mut tracker = GoroutineTracker::default();
    observe(&mut tracker, 10, &[(1, 7), (2, 7), (3, 7)]);
    let mut list = reading(&[(1, 7), (50, 8), (3, 7), (51, 8)]);
    list.list[1].slot = 2;
    // Sure even if something was missed.
    list.lost.torn = 1;
    let sample = tracker.observe(11 * S, &list, &mut |_| true);
    assert_eq!((sample.live, sample.newest_id), (4, 51));
    assert_eq!(sample.sites[&site(7)].ended_before, 1);
    assert_eq!((sample.sites[&site(8)].started, sample.sites[&site(8)].live), (2, 2));
}

#[test]
fn sites_beyond_the_limit_are_one() {
    let mut tracker = GoroutineTracker::default();
    let many: Vec<_> = (1..=SITES_MAX as u64 + 10).map(|id| (id, id + 100)).collect();
    let sample = observe(&mut tracker, 10, &many);
    assert_eq!(sample.sites.len(), SITES_MAX + 1);
    assert_eq!(sample.sites[&super::OTHER_SITES].live, 10);
    assert_eq!(sample.live, many.len() as u64);
}

#[test]
fn a_survey_has_ages_and_states() {
    let mut tracker = GoroutineTracker::default();
    observe(&mut tracker, 10, &[(1, 7)]);
    observe(&mut tracker, 12, &[(1, 7), (2, 7)]);
    observe(&mut tracker, 90, &[(1, 7), (2, 7), (3, 7)]);
    let mut last = reading(&[(1, 7), (2, 7), (3, 7), (4, 99)]);
    last.list[1].status = Status::Syscall;
    tracker.observe(95 * S, &last, &mut |one| one.creator_pc != 99);
    let found: HashMap<_, _> = survey(&tracker, &last, 95 * S);
    assert_eq!(found.len(), 1);
    let seven = &found[&site(7)];
    // Born at 11 s and at 51 s.
    assert_eq!((seven.before, seven.by_age, seven.oldest_s), (1, [0, 1, 1, 0, 0], Some(84.0)));
    assert_eq!(seven.states, [("waiting", 2), ("syscall", 1)]);
    assert_eq!((seven.places_total, seven.places[0].count), (2, 2));
}
