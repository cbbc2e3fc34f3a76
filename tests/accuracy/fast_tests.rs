//! The simulation against the schedule: what leaktrace is shown is what happened.

use super::{Program, run, schedule, site};
use crate::accuracy::{
    catalogue::{forgets, random},
    scenario::{Scenario, What},
    schedule::{Event, forgotten_in},
};

fn scenario(what: What) -> Scenario {
    Scenario {
        name: "test".to_owned(),
        seed: 11,
        parts: vec![forgets(4, random(what, 20.0, 1.5)), random(what, 10.0, 30.0)],
        warm_s: 100.0,
        duration_max_s: 40.0,
        gogc: 100,
        ends_s: None,
    }
}

fn count(events: &[Event], part: usize, is: impl Fn(&Event) -> bool) -> u64 {
    events.iter().filter(|event| event.part == part && is(event)).count() as u64
}

#[test]
fn contexts_are_counted_as_they_happened() {
    let scenario = scenario(What::Context);
    let events = schedule(&scenario);
    let mut program = Program::new(&scenario, &events);
    for now_s in [0.0, 10.0, 30.0] {
        program.read(now_s, false);
        let mut old_ends = 0;
        for part in [0, 1] {
            let series = &program.history.sites().get(&site(part));
            let created = count(&events, part, |event| (0.0..=now_s).contains(&event.at_s));
            let alive = count(&events, part, |event| event.at_s >= 0.0 && event.lives_at(now_s));
            let seen =
                series.map_or((0, 0), |series| (series.latest.created, series.latest.outstanding));
            assert_eq!(seen, (created, alive), "part {part} at {now_s} s");
            old_ends += count(&events, part, |event| event.at_s < 0.0 && !event.lives_at(now_s));
        }
        assert_eq!(program.history.contexts().unwrap().released_untracked, old_ends, "{now_s}");
    }
    let children = program.contexts.holdings()[&site(0)].holder.as_ref().unwrap().children;
    assert_eq!(children as usize, events.iter().filter(|event| event.lives_at(30.0)).count());
}

#[test]
fn goroutines_are_there_as_long_as_they_live() {
    let scenario = scenario(What::Goroutine);
    let events = schedule(&scenario);
    let mut program = Program::new(&scenario, &events);
    (0..=30).for_each(|now_s| program.read(f64::from(now_s), false));
    let live = events.iter().filter(|event| event.lives_at(30.0)).count() as u64;
    assert_eq!(program.history.goroutines().live().last(), Some(&live));
    assert_eq!(program.history.contexts().unwrap().probe_hits, 0);
}

/// A program whose leak nobody could mistake goes all the way through.
#[test]
fn a_plain_leak_is_found_where_it_is() {
    let mut plain = scenario(What::Context);
    plain.parts =
        vec![random(What::Context, 30.0, 0.05), forgets(1, random(What::Context, 30.0, 1.0))];
    plain.warm_s = 5000.0;
    let outcome = run(&plain).outcome;
    assert_eq!((outcome.found, outcome.missed, outcome.accused), (1, 0, 0), "{outcome:?}");
    let truth = forgotten_in(&schedule(&plain), 1, outcome.ended_s) as f64 / outcome.ended_s;
    assert_eq!(outcome.leaked_per_s, truth);
    assert!(outcome.rate_error.unwrap() < 0.05, "{outcome:?}");
}

#[test]
fn a_trace_ends_with_its_program() {
    let ends = Scenario { ends_s: Some(15.5), ..scenario(What::Context) };
    assert_eq!(run(&ends).outcome.ended_s, 15.5);
}
